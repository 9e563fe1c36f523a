--! group: scores
--! title: Leads to call
--! question: Whom to call first?
--! grain: one row per contact, the 50 highest
--! chart: table
--! column: entity_id text
--! column: name text
--! column: owner_id text
--! column: value decimal non_additive
--! column: reasons text
SELECT entity_id, name, owner_id, value, reasons
FROM scores
WHERE entity_kind = 'contact' AND score = 'priority' AND value IS NOT NULL
ORDER BY value DESC, entity_id
LIMIT 50
