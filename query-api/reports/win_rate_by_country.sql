--! group: win/loss
--! title: Win rate by country
--! question: In which countries do we win?
--! description: Won of won and lost: by count, and by amount beside it.
--! grain: one row per country
--! chart: bar
--! column: country text
--! column: won integer additive
--! column: lost integer additive
--! column: win_rate percent non_additive
--! column: win_rate_by_amount percent non_additive
SELECT
    coalesce(accounts.country, 'unknown') AS country,
    count(*) FILTER (WHERE deals.status = 'won') AS won,
    count(*) FILTER (WHERE deals.status = 'lost') AS lost,
    CAST(count(*) FILTER (WHERE deals.status = 'won') AS DOUBLE) / count(*) AS win_rate,
    sum(deals.amount) FILTER (WHERE deals.status = 'won') / nullif(sum(deals.amount), 0) AS win_rate_by_amount
FROM deals
LEFT JOIN accounts ON accounts.account_id = deals.account_id
WHERE deals.status IN ('won', 'lost')
GROUP BY 1
ORDER BY country
