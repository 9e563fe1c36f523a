--! description: The CRM change log: one row a change of one field, append-only.
--! entity: object
--! key: object_id
INSERT INTO crm_history
SELECT
    tenant_id,
    event_id,
    object,
    object_id,
    field,
    order_key,
    value,
    source,
    event_time,
    known_at
FROM crm_fields
