--! group: scores
--! title: Deals by health
--! question: How healthy are the deals?
--! grain: one row per tier
--! chart: bar
--! column: tier text
--! column: entities integer semi_additive
--! column: average decimal non_additive
SELECT coalesce(tier, 'unscored') AS tier, count(*) AS entities, avg(value) AS average
FROM scores
WHERE entity_kind = 'deal' AND score = 'health'
GROUP BY 1
ORDER BY tier
