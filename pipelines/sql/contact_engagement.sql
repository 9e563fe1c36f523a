--! description: What each contact did, by event type, direction and machine class: counts, decayed counts, values, first and last time.
--! entity: contact
--! key: contact_key
INSERT INTO contact_engagement
SELECT
    tenant_id,
    contact_key,
    era,
    type,
    direction,
    machine_class,
    count(*) AS n,
    sum(power(2.0, era_seconds / 259200.0)) AS s_days_3,
    sum(power(2.0, era_seconds / 1209600.0)) AS s_days_14,
    sum(power(2.0, era_seconds / 2592000.0)) AS s_days_30,
    sum(power(2.0, era_seconds / 5184000.0)) AS s_days_60,
    sum(coalesce(value, 0.0)) AS value_sum,
    max(value) AS value_max,
    max(account_ref) AS account_key,
    max(email) AS email,
    min(event_time) AS first_time,
    max(event_time) AS last_time
FROM (
    SELECT
        tenant_id,
        coalesce(contact_id, email) AS contact_key,
        CAST(floor(extract(epoch FROM event_time) / 126230400.0) AS BIGINT) AS era,
        extract(epoch FROM event_time)
            - 126230400.0 * floor(extract(epoch FROM event_time) / 126230400.0) AS era_seconds,
        type,
        direction,
        machine_class,
        value,
        coalesce(account_id, domain) AS account_ref,
        email,
        event_time
    FROM events
    WHERE kind = 'engagement' AND coalesce(contact_id, email) IS NOT NULL
) AS engagement
GROUP BY tenant_id, contact_key, era, type, direction, machine_class
