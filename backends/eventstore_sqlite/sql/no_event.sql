-- A fragment of other queries: in place of an event, in a row that says something else.
NULL AS stream_id,
NULL AS stream_type,
NULL AS version,
NULL AS global_position,
NULL AS event_id,
NULL AS event_type,
NULL AS data,
NULL AS metadata,
NULL AS created_at
