--! group: activity
--! title: Opens and clicks by machines
--! question: How much of the opens and clicks did machines make?
--! grain: one row per type and machine class
--! chart: bar
--! column: type text
--! column: machine_class text
--! column: events integer additive
SELECT type, machine_class, CAST(sum(n) AS BIGINT) AS events
FROM contact_engagement
WHERE type IN ('email.opened', 'email.clicked')
GROUP BY 1, 2
ORDER BY type, events DESC
