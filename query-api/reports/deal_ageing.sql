--! group: ageing
--! title: Age of open deals by stage
--! question: How old are open deals?
--! description: Deals still open are counted with the age they have reached.
--! grain: one row per stage
--! chart: bar
--! column: stage text
--! column: deals integer semi_additive
--! column: median_age_days days non_additive
--! column: oldest_days days non_additive
SELECT
    coalesce(stage, 'none') AS stage,
    count(*) AS deals,
    median((extract(epoch FROM {as_of}) - extract(epoch FROM created_at)) / 86400.0) AS median_age_days,
    max((extract(epoch FROM {as_of}) - extract(epoch FROM created_at)) / 86400.0) AS oldest_days
FROM deals
WHERE status = 'open' AND created_at IS NOT NULL
GROUP BY 1
ORDER BY median_age_days DESC
