--! group: marketing
--! title: Signals by type
--! question: Which signals are seen, at how many accounts?
--! grain: one row per type
--! chart: bar
--! column: type text
--! column: events integer additive
--! column: accounts integer non_additive
--! column: last_time instant
SELECT type, CAST(sum(n) AS BIGINT) AS events, count(DISTINCT account_key) AS accounts, max(last_time) AS last_time
FROM account_signals
GROUP BY 1
ORDER BY events DESC
