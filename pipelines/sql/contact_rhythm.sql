--! description: At which hour of the week (UTC, 0 = Monday midnight) each contact opens, clicks, replies, calls and meets.
--! entity: contact
--! key: contact_key
INSERT INTO contact_rhythm
SELECT
    tenant_id,
    contact_key,
    type,
    machine_class,
    hour_of_week,
    count(*) AS n,
    max(event_time) AS last_time
FROM (
    SELECT
        tenant_id,
        coalesce(contact_id, email) AS contact_key,
        type,
        machine_class,
        (CAST(floor(extract(epoch FROM event_time) / 3600.0) AS BIGINT) + 72) % 168 AS hour_of_week,
        event_time
    FROM events
    WHERE
        type IN ('email.opened', 'email.clicked', 'email.replied', 'call.completed', 'meeting.attended')
        AND coalesce(contact_id, email) IS NOT NULL
) AS rhythm
GROUP BY tenant_id, contact_key, type, machine_class, hour_of_week
