--! description: What was done by and learnt about each account, by event type, direction and machine class.
--! entity: account
--! key: account_key
INSERT INTO account_signals
SELECT
    tenant_id,
    account_key,
    era,
    type,
    direction,
    machine_class,
    count(*) AS n,
    sum(power(2.0, era_seconds / 604800.0)) AS s_days_7,
    sum(power(2.0, era_seconds / 1209600.0)) AS s_days_14,
    sum(power(2.0, era_seconds / 5184000.0)) AS s_days_60,
    sum(power(2.0, era_seconds / 7776000.0)) AS s_days_90,
    sum(power(2.0, era_seconds / 15552000.0)) AS s_days_180,
    sum(coalesce(value, 0.0)) AS value_sum,
    max(value) AS value_max,
    min(event_time) AS first_time,
    max(event_time) AS last_time
FROM (
    SELECT
        tenant_id,
        coalesce(account_id, domain) AS account_key,
        CAST(floor(extract(epoch FROM event_time) / 126230400.0) AS BIGINT) AS era,
        extract(epoch FROM event_time)
            - 126230400.0 * floor(extract(epoch FROM event_time) / 126230400.0) AS era_seconds,
        type,
        direction,
        machine_class,
        value,
        event_time
    FROM events
    WHERE kind IN ('engagement', 'enrichment') AND coalesce(account_id, domain) IS NOT NULL
) AS signals
GROUP BY tenant_id, account_key, era, type, direction, machine_class
