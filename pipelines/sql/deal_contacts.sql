--! description: Which contacts take part in each deal, how often, since when and until when.
--! entity: deal
--! key: deal_id
INSERT INTO deal_contacts
SELECT
    tenant_id,
    deal_id,
    contact_key,
    direction,
    machine_class,
    count(*) AS n,
    min(event_time) AS first_time,
    max(event_time) AS last_time
FROM (
    SELECT
        tenant_id,
        deal_id,
        coalesce(contact_id, email) AS contact_key,
        direction,
        machine_class,
        event_time
    FROM events
    WHERE kind = 'engagement' AND deal_id IS NOT NULL AND coalesce(contact_id, email) IS NOT NULL
) AS participation
GROUP BY tenant_id, deal_id, contact_key, direction, machine_class
