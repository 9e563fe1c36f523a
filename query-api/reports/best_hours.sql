--! group: activity
--! title: When people answer
--! question: At which hour of the week do people open, click, reply, call and meet?
--! grain: one row per hour of the week (UTC, 0 = Monday midnight)
--! chart: bar
--! column: hour_of_week integer
--! column: events integer additive
SELECT hour_of_week, CAST(sum(n) AS BIGINT) AS events
FROM contact_rhythm
WHERE machine_class = 'none'
GROUP BY 1
ORDER BY hour_of_week
