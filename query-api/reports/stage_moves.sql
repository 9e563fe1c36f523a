--! group: funnel
--! title: Moves between stages
--! question: From which stage do deals go to which?
--! grain: one row per pair of stages
--! chart: table
--! column: from_stage text
--! column: to_stage text
--! column: moves integer additive
--! column: median_days days non_additive
WITH moves AS (
    SELECT
        value AS from_stage,
        lead(value) OVER (PARTITION BY deal_id ORDER BY order_key) AS to_stage,
        (extract(epoch FROM lead(event_time) OVER (PARTITION BY deal_id ORDER BY order_key)) - extract(epoch FROM event_time)) / 86400.0 AS days
    FROM deal_history
    WHERE field IN ('stage', 'stage_name', 'deal_stage', 'dealstage') AND value IS NOT NULL
)
SELECT from_stage, to_stage, count(*) AS moves, median(days) AS median_days
FROM moves
WHERE to_stage IS NOT NULL AND to_stage <> from_stage
GROUP BY 1, 2
ORDER BY moves DESC
