--! group: activity
--! title: Calls by rep
--! question: Who calls, and who gets through?
--! grain: one row per rep
--! chart: bar
--! column: user_id text
--! column: completed integer additive
--! column: no_answer integer additive
--! column: connect_rate percent non_additive
SELECT
    user_id,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'call.completed'), 0) AS BIGINT) AS completed,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'call.no_answer'), 0) AS BIGINT) AS no_answer,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'call.completed'), 0) AS DOUBLE) / nullif(sum(n), 0) AS connect_rate
FROM rep_activity
WHERE type IN ('call.completed', 'call.no_answer')
GROUP BY 1
ORDER BY completed DESC
