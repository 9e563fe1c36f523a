--! group: win/loss
--! title: Win rate by month of creation
--! question: How do deals created in a month end?
--! description: Won of won and lost: by count, and by amount beside it.
--! grain: one row per cohort
--! chart: line
--! column: cohort date
--! column: won integer additive
--! column: lost integer additive
--! column: win_rate percent non_additive
--! column: win_rate_by_amount percent non_additive
SELECT
    date_trunc('month', deals.created_at) AS cohort,
    count(*) FILTER (WHERE deals.status = 'won') AS won,
    count(*) FILTER (WHERE deals.status = 'lost') AS lost,
    CAST(count(*) FILTER (WHERE deals.status = 'won') AS DOUBLE) / count(*) AS win_rate,
    sum(deals.amount) FILTER (WHERE deals.status = 'won') / nullif(sum(deals.amount), 0) AS win_rate_by_amount
FROM deals
WHERE deals.status IN ('won', 'lost')
GROUP BY 1
ORDER BY cohort
