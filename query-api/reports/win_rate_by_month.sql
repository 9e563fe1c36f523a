--! group: win/loss
--! title: Win rate by month of closing
--! question: How does the win rate move?
--! description: Won of won and lost: by count, and by amount beside it.
--! grain: one row per month
--! chart: line
--! column: month date
--! column: won integer additive
--! column: lost integer additive
--! column: win_rate percent non_additive
--! column: win_rate_by_amount percent non_additive
SELECT
    date_trunc('month', deals.closed_at) AS month,
    count(*) FILTER (WHERE deals.status = 'won') AS won,
    count(*) FILTER (WHERE deals.status = 'lost') AS lost,
    CAST(count(*) FILTER (WHERE deals.status = 'won') AS DOUBLE) / count(*) AS win_rate,
    sum(deals.amount) FILTER (WHERE deals.status = 'won') / nullif(sum(deals.amount), 0) AS win_rate_by_amount
FROM deals
WHERE deals.status IN ('won', 'lost')
GROUP BY 1
ORDER BY month
