--! description: The latest value of each field of each CRM object, by the source's version and then event time.
--! entity: object
--! key: object_id
INSERT INTO crm_state
SELECT
    tenant_id,
    object,
    object_id,
    field,
    count(*) AS n,
    max(concat(order_key, CASE WHEN value IS NULL THEN '-' ELSE concat('=', value) END)) AS latest,
    min(known_at) AS known_at
FROM crm_fields
GROUP BY tenant_id, object, object_id, field
