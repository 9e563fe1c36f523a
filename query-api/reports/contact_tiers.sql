--! group: scores
--! title: Contacts by priority tier
--! question: How many contacts are in each tier?
--! grain: one row per tier
--! chart: bar
--! column: tier text
--! column: entities integer semi_additive
--! column: average decimal non_additive
SELECT coalesce(tier, 'unscored') AS tier, count(*) AS entities, avg(value) AS average
FROM scores
WHERE entity_kind = 'contact' AND score = 'priority'
GROUP BY 1
ORDER BY tier
