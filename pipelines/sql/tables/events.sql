-- Every accepted event, once. The embedded engine binds it to the journal, a batch query to the lake,
-- Arroyo to a topic of JSON rows.
CREATE TABLE events (
    tenant_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    type TEXT NOT NULL,
    event_time TIMESTAMP NOT NULL,
    ingested_at TIMESTAMP NOT NULL,
    known_at TIMESTAMP NOT NULL,
    source TEXT NOT NULL,
    account_id TEXT,
    contact_id TEXT,
    deal_id TEXT,
    user_id TEXT,
    email TEXT,
    domain TEXT,
    direction TEXT,
    machine_class TEXT NOT NULL,
    value DOUBLE,
    payload TEXT NOT NULL
)
