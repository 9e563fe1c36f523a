--! description: What happened on each deal, by event type, direction and machine class.
--! entity: deal
--! key: deal_id
INSERT INTO deal_activity
SELECT
    tenant_id,
    deal_id,
    era,
    type,
    direction,
    machine_class,
    count(*) AS n,
    sum(power(2.0, era_seconds / 1209600.0)) AS s_days_14,
    sum(power(2.0, era_seconds / 5184000.0)) AS s_days_60,
    sum(coalesce(value, 0.0)) AS value_sum,
    max(value) AS value_max,
    min(event_time) AS first_time,
    max(event_time) AS last_time
FROM (
    SELECT
        tenant_id,
        deal_id,
        CAST(floor(extract(epoch FROM event_time) / 126230400.0) AS BIGINT) AS era,
        extract(epoch FROM event_time)
            - 126230400.0 * floor(extract(epoch FROM event_time) / 126230400.0) AS era_seconds,
        type,
        direction,
        machine_class,
        value,
        event_time
    FROM events
    WHERE kind = 'engagement' AND deal_id IS NOT NULL
) AS activity
GROUP BY tenant_id, deal_id, era, type, direction, machine_class
