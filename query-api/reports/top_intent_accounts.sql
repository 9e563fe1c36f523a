--! group: scores
--! title: Accounts with the highest intent
--! question: Which accounts look like buying?
--! grain: one row per account, the 50 highest
--! chart: table
--! column: entity_id text
--! column: name text
--! column: owner_id text
--! column: value decimal non_additive
--! column: reasons text
SELECT entity_id, name, owner_id, value, reasons
FROM scores
WHERE entity_kind = 'account' AND score = 'intent' AND value IS NOT NULL
ORDER BY value DESC, entity_id
LIMIT 50
