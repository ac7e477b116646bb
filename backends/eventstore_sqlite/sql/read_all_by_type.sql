-- The same as read_all.sql for a few types, which are found by an index: what does not match costs nothing.
--
-- The first :limit positions of each type are merged, and the first :limit of those are the page. An IN over all types
-- would instead collect and sort everything that matches to the end of the log, for every page.
--
--   :types           a list
-- and put in before the query is run:
--   type_column      stream_type or event_type
SELECT
    {no_event},
    (SELECT seq FROM sqlite_sequence WHERE name = 'events') AS fact

UNION ALL

SELECT * FROM (
    SELECT
        {event_columns},
        NULL
    FROM events
    WHERE global_position IN (
        SELECT candidate.global_position
        FROM json_each(:types) AS type
        CROSS JOIN events AS candidate
        WHERE candidate.global_position IN (
            SELECT global_position
            FROM events
            WHERE
                {type_column} = type.value
                AND global_position BETWEEN :first AND :last
                {conditions}
            ORDER BY global_position {order}
            LIMIT :limit
        )
        ORDER BY candidate.global_position {order}
        LIMIT :limit
    )
    ORDER BY global_position {order}
)
