-- Streams by id: their versions, the first version that is left (NULL where none is), and whether they are deleted.
--
--   :ranges              [[first id, last id], …], both inclusive
--   :include_deleted     0 or 1
--   :limit
WITH RECURSIVE
    -- Steps from each stream id to the next one, down the index on (stream_id, version) and the lifecycle rows, so that
    -- the cost depends on the streams and not on the events. No name has a character below U+0020: the ids after `x` are
    -- those from x || char(1) on. The ORDER BY makes the walk go by id across the ranges, and the LIMIT below ends it.
    walk (stream_id, step, last, is_stream) AS (
        SELECT item.value ->> 0, '', item.value ->> 1, 0
        FROM json_each(:ranges) AS item

        UNION ALL

        SELECT
            (
                SELECT min(stream_id)
                FROM (
                    SELECT min(stream_id) AS stream_id
                    FROM events
                    WHERE stream_id BETWEEN walk.stream_id || walk.step AND walk.last

                    UNION ALL

                    SELECT min(stream_id)
                    FROM stream_lifecycle
                    WHERE stream_id BETWEEN walk.stream_id || walk.step AND walk.last
                )
            ),
            char(1),
            walk.last,
            1
        FROM walk
        WHERE walk.stream_id IS NOT NULL
        ORDER BY 1
    ),

    -- MATERIALIZED, so that the limit ends the walk: put together with the ORDER BY below, it would only cut off what was
    -- sorted, and every page would walk to the last stream.
    page AS MATERIALIZED (
        SELECT
            walk.stream_id,
            max(
                coalesce((SELECT max(version) FROM events WHERE stream_id = walk.stream_id), 0),
                coalesce(lifecycle.version, 0)
            ) AS version,
            (SELECT min(version) FROM events WHERE stream_id = walk.stream_id) AS first_version,
            coalesce(lifecycle.deleted, 0) AS deleted
        FROM walk
        LEFT JOIN stream_lifecycle AS lifecycle ON lifecycle.stream_id = walk.stream_id
        WHERE
            walk.is_stream
            AND walk.stream_id IS NOT NULL
            AND (:include_deleted OR NOT coalesce(lifecycle.deleted, 0))
        LIMIT :limit
    )

SELECT stream_id, version, first_version, deleted
FROM page
ORDER BY stream_id
