--! group: scores
--! title: Tier changes by week
--! question: How often do contacts and deals change their tier?
--! grain: one row per week, score and new tier
--! chart: line
--! column: week date
--! column: score text
--! column: new_tier text
--! column: changes integer additive
SELECT date_trunc('week', as_of) AS week, score, coalesce(new_tier, 'none') AS new_tier, count(*) AS changes
FROM score_changes
WHERE entity_kind <> 'tenant' AND (old_tier IS DISTINCT FROM new_tier)
GROUP BY 1, 2, 3
ORDER BY week, score, new_tier
