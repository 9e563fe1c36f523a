--! group: velocity
--! title: Pipeline velocity
--! question: How much revenue does the pipeline give a day?
--! description: Deals x win rate x average won amount / average won cycle, all from the deals closed in the last 365 days, so that rate and cycle are of one cohort.
--! grain: one row per sales pipeline and currency
--! chart: number
--! column: pipeline text
--! column: currency text
--! column: deals integer additive
--! column: win_rate percent non_additive
--! column: average_amount money non_additive
--! column: cycle_days days non_additive
--! column: velocity_per_day money non_additive
SELECT
    coalesce(pipeline, 'none') AS pipeline,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    CAST(count(*) FILTER (WHERE status = 'won') AS DOUBLE) / count(*) AS win_rate,
    avg(amount) FILTER (WHERE status = 'won') AS average_amount,
    avg((extract(epoch FROM closed_at) - extract(epoch FROM created_at)) / 86400.0) FILTER (WHERE status = 'won') AS cycle_days,
    count(*) FILTER (WHERE status = 'won') * avg(amount) FILTER (WHERE status = 'won')
        / nullif(avg((extract(epoch FROM closed_at) - extract(epoch FROM created_at)) / 86400.0) FILTER (WHERE status = 'won'), 0) AS velocity_per_day
FROM deals
WHERE status IN ('won', 'lost') AND closed_at >= {as_of} - interval '365 days'
GROUP BY 1, 2
ORDER BY velocity_per_day DESC NULLS LAST
