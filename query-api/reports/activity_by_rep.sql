--! group: activity
--! title: Activity by rep in the last 30 days
--! question: Who did how much of what?
--! grain: one row per user id and type
--! chart: bar
--! column: user_id text
--! column: type text
--! column: events integer additive
SELECT user_id AS user_id, type, CAST(sum(n) AS BIGINT) AS events
FROM rep_activity
WHERE day >= {as_of} - interval '30 days'
GROUP BY 1, 2
ORDER BY user_id, events DESC
