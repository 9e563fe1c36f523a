--! group: scores
--! title: Leads to call
--! question: Whom to call first?
--! grain: one row per contact, the 50 highest; equals by engagement, then buying authority, then id
--! chart: table
--! column: entity_id text
--! column: name text
--! column: owner_id text
--! column: value decimal non_additive
--! column: reasons text
SELECT entity_id, name, owner_id, value, reasons
FROM scores
WHERE entity_kind = 'contact' AND score = 'priority' AND value IS NOT NULL
ORDER BY
    value DESC,
    json_get_float(facts, 'engagement') DESC NULLS LAST,
    json_get_float(facts, 'authority') DESC NULLS LAST,
    entity_id
LIMIT 50
