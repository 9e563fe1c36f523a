--! group: scores
--! title: Next best actions
--! question: What is there to do, and for how many contacts?
--! grain: one row per tier
--! chart: bar
--! column: tier text
--! column: entities integer semi_additive
--! column: average decimal non_additive
SELECT coalesce(tier, 'unscored') AS tier, count(*) AS entities, avg(value) AS average
FROM scores
WHERE entity_kind = 'contact' AND score = 'next_action'
GROUP BY 1
ORDER BY tier
