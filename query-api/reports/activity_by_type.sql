--! group: activity
--! title: Events by type
--! question: What happened, all in all?
--! grain: one row per kind and type
--! chart: bar
--! column: kind text
--! column: type text
--! column: events integer additive
--! column: machine integer additive
--! column: last_time instant
SELECT kind, type, CAST(sum(n) AS BIGINT) AS events, CAST(sum(machine_n) AS BIGINT) AS machine, max(event_time) AS last_time
FROM event_counts
GROUP BY 1, 2
ORDER BY events DESC
