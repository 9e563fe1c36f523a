--! group: scores
--! title: Alerts by rule
--! question: Which warnings hold most often?
--! grain: one row per rule and severity
--! chart: bar
--! column: rule text
--! column: severity text
--! column: alerts integer semi_additive
SELECT rule, severity, count(*) AS alerts
FROM alerts
GROUP BY 1, 2
ORDER BY alerts DESC
