-- A fragment of other queries: the columns that records.py makes an event of.
stream_id,
stream_type,
version,
global_position,
event_id,
event_type,
data,
metadata,
created_at
