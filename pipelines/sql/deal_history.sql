--! description: Every value each field of each deal ever took, with the instant it was first known.
--! entity: deal
--! key: deal_id
INSERT INTO deal_history
SELECT
    tenant_id,
    deal_id,
    field,
    order_key,
    value,
    count(*) AS n,
    min(known_at) AS known_at,
    min(event_time) AS event_time,
    min(source) AS source
FROM (
    SELECT tenant_id, object_id AS deal_id, field, order_key, value, known_at, event_time, source
    FROM crm_fields
    WHERE object = 'deal'
) AS changes
GROUP BY tenant_id, deal_id, field, order_key, value
