--! group: ageing
--! title: Time in each stage
--! question: How long did deals that moved on stay in each stage?
--! description: Completed stays alone; stage_survival counts those that still run too.
--! grain: one row per stage
--! chart: bar
--! column: stage text
--! column: stays integer additive
--! column: median_days days non_additive
--! column: p90_days days non_additive
WITH spells AS (
    SELECT
        changes.deal_id,
        changes.value AS stage,
        changes.event_time AS entered_at,
        lead(changes.event_time) OVER (PARTITION BY changes.deal_id ORDER BY changes.order_key) AS left_at
    FROM deal_history AS changes
    WHERE changes.field IN ('stage', 'stage_name', 'deal_stage', 'dealstage') AND changes.value IS NOT NULL
)
SELECT
    stage,
    count(*) AS stays,
    median((extract(epoch FROM left_at) - extract(epoch FROM entered_at)) / 86400.0) AS median_days,
    approx_percentile_cont((extract(epoch FROM left_at) - extract(epoch FROM entered_at)) / 86400.0, 0.9) AS p90_days
FROM spells
WHERE left_at IS NOT NULL
GROUP BY 1
ORDER BY median_days DESC
