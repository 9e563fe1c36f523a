--! group: data quality
--! title: Events by day
--! question: How many events came for each day?
--! grain: one row per day and source
--! chart: line
--! column: day date
--! column: source text
--! column: events integer additive
--! column: late integer additive
SELECT day, source, CAST(sum(n) AS BIGINT) AS events, CAST(sum(late_n) AS BIGINT) AS late
FROM event_counts
GROUP BY 1, 2
ORDER BY day, source
