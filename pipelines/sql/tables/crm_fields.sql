-- CRM and enrichment events, one row a changed field. The embedded engine and batch queries explode the events
-- themselves; Arroyo reads a topic of rows that were exploded before.
CREATE TABLE crm_fields (
    tenant_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    object TEXT NOT NULL,
    object_id TEXT NOT NULL,
    field TEXT NOT NULL,
    order_key TEXT NOT NULL,
    value TEXT,
    source TEXT NOT NULL,
    event_time TIMESTAMP NOT NULL,
    known_at TIMESTAMP NOT NULL
)
