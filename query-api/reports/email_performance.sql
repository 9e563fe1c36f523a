--! group: activity
--! title: Mail performance by rep
--! question: Whose mails are opened, clicked and answered?
--! description: Opens and clicks of machines are in these counts; see machine_share.
--! grain: one row per rep
--! chart: table
--! column: user_id text
--! column: sent integer additive
--! column: opened integer additive
--! column: clicked integer additive
--! column: replied integer additive
--! column: bounced integer additive
--! column: reply_rate percent non_additive
SELECT
    user_id,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'email.sent'), 0) AS BIGINT) AS sent,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'email.opened'), 0) AS BIGINT) AS opened,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'email.clicked'), 0) AS BIGINT) AS clicked,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'email.replied'), 0) AS BIGINT) AS replied,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'email.bounced'), 0) AS BIGINT) AS bounced,
    CAST(coalesce(sum(n) FILTER (WHERE type = 'email.replied'), 0) AS DOUBLE) / nullif(sum(n) FILTER (WHERE type = 'email.sent'), 0) AS reply_rate
FROM rep_activity
GROUP BY 1
ORDER BY sent DESC
