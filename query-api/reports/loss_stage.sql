--! group: win/loss
--! title: Where deals are lost
--! question: From which stage are deals lost?
--! grain: one row per stage before the loss
--! chart: bar
--! column: stage text
--! column: lost integer additive
WITH spells AS (
    SELECT
        changes.deal_id,
        changes.value AS stage,
        changes.event_time AS entered_at,
        lead(changes.event_time) OVER (PARTITION BY changes.deal_id ORDER BY changes.order_key) AS left_at
    FROM deal_history AS changes
    WHERE changes.field IN ('stage', 'stage_name', 'deal_stage', 'dealstage') AND changes.value IS NOT NULL
),
ends AS (
    SELECT deal_id, max(entered_at) AS entered_at
    FROM spells
    WHERE left_at IS NOT NULL
    GROUP BY deal_id
)
SELECT spells.stage, count(*) AS lost
FROM ends
JOIN spells ON spells.deal_id = ends.deal_id AND spells.entered_at = ends.entered_at AND spells.left_at IS NOT NULL
JOIN deals ON deals.deal_id = ends.deal_id
WHERE deals.status = 'lost'
GROUP BY 1
ORDER BY lost DESC
