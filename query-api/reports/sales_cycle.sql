--! group: velocity
--! title: Length of the sales cycle
--! question: How long from creation to closing?
--! grain: one row per outcome
--! chart: bar
--! column: outcome text
--! column: deals integer additive
--! column: median_days days non_additive
--! column: average_days days non_additive
--! column: p90_days days non_additive
SELECT
    status AS outcome,
    count(*) AS deals,
    median((extract(epoch FROM closed_at) - extract(epoch FROM created_at)) / 86400.0) AS median_days,
    avg((extract(epoch FROM closed_at) - extract(epoch FROM created_at)) / 86400.0) AS average_days,
    approx_percentile_cont((extract(epoch FROM closed_at) - extract(epoch FROM created_at)) / 86400.0, 0.9) AS p90_days
FROM deals
WHERE status IN ('won', 'lost') AND closed_at >= created_at
GROUP BY 1
ORDER BY outcome DESC
