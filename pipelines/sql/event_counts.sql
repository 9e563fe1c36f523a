--! description: Events per source, kind, type and day, with late arrivals and the latest times: the health of the data.
--! entity: source
--! key: source
INSERT INTO event_counts
SELECT
    tenant_id,
    source,
    kind,
    type,
    day,
    count(*) AS n,
    sum(late) AS late_n,
    sum(machine) AS machine_n,
    max(event_time) AS event_time,
    max(ingested_at) AS ingested_at
FROM (
    SELECT
        tenant_id,
        source,
        kind,
        type,
        date_bin(interval '1 day', event_time) AS day,
        CASE
            WHEN extract(epoch FROM ingested_at) - extract(epoch FROM event_time) > 86400.0 THEN CAST(1 AS BIGINT)
            ELSE CAST(0 AS BIGINT)
        END AS late,
        CASE WHEN machine_class = 'none' THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END AS machine,
        event_time,
        ingested_at
    FROM events
) AS counted
GROUP BY tenant_id, source, kind, type, day
