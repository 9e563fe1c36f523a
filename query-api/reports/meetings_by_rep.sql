--! group: activity
--! title: Meetings by rep
--! question: Who meets how often, and who is stood up?
--! grain: one row per rep
--! chart: bar
--! column: user_id text
--! column: scheduled integer additive
--! column: attended integer additive
--! column: no_show integer additive
--! column: cancelled integer additive
SELECT
    user_id,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'meeting.scheduled'), 0) AS BIGINT) AS scheduled,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'meeting.attended'), 0) AS BIGINT) AS attended,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'meeting.no_show'), 0) AS BIGINT) AS no_show,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'meeting.cancelled'), 0) AS BIGINT) AS cancelled
FROM rep_activity
GROUP BY 1
ORDER BY attended DESC
