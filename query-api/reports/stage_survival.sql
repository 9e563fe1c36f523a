--! group: ageing
--! title: How long deals stay in a stage (Kaplan-Meier)
--! question: How likely is a deal still in a stage after so many days?
--! description: Product limit over completed and running stays: S(t) is the product of 1 - left / at risk. Stays that still run are censored, not left out.
--! grain: one row per stage and day at which a deal left
--! chart: line
--! column: stage text
--! column: days days
--! column: at_risk integer non_additive
--! column: left integer additive
--! column: still_in_stage percent non_additive
WITH spells AS (
    SELECT
        changes.deal_id,
        changes.value AS stage,
        changes.event_time AS entered_at,
        lead(changes.event_time) OVER (PARTITION BY changes.deal_id ORDER BY changes.order_key) AS left_at
    FROM deal_history AS changes
    WHERE changes.field IN ('stage', 'stage_name', 'deal_stage', 'dealstage') AND changes.value IS NOT NULL
),
durations AS (
    SELECT
        spells.stage,
        CAST(floor((extract(epoch FROM coalesce(spells.left_at, {as_of})) - extract(epoch FROM spells.entered_at)) / 86400.0) AS BIGINT) AS days,
        CASE WHEN spells.left_at IS NULL THEN 0 ELSE 1 END AS has_left
    FROM spells
    LEFT JOIN deals ON deals.deal_id = spells.deal_id
    WHERE spells.left_at IS NOT NULL OR deals.status = 'open'
),
steps AS (
    SELECT stage, days, sum(has_left) AS gone, count(*) AS ended
    FROM durations
    WHERE days >= 0
    GROUP BY stage, days
),
risk AS (
    SELECT
        stage,
        days,
        gone,
        sum(ended) OVER (PARTITION BY stage ORDER BY days DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS at_risk
    FROM steps
)
SELECT
    stage,
    days,
    at_risk,
    gone AS left,
    CASE
        WHEN min(at_risk - gone) OVER (PARTITION BY stage ORDER BY days) = 0 THEN 0.0
        ELSE exp(sum(CASE WHEN at_risk > gone THEN ln(1.0 - CAST(gone AS DOUBLE) / at_risk) ELSE 0.0 END)
            OVER (PARTITION BY stage ORDER BY days))
    END AS still_in_stage
FROM risk
ORDER BY stage, days
