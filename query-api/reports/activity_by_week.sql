--! group: activity
--! title: Activity by week
--! question: How does our activity move?
--! grain: one row per week and type
--! chart: line
--! column: week date
--! column: type text
--! column: events integer additive
SELECT date_trunc('week', day) AS week, type, CAST(sum(n) AS BIGINT) AS events
FROM rep_activity
GROUP BY 1, 2
ORDER BY week, events DESC
