--! group: win/loss
--! title: Win rate by industry
--! question: In which industries do we win?
--! description: Won of won and lost: by count, and by amount beside it.
--! grain: one row per industry
--! chart: bar
--! column: industry text
--! column: won integer additive
--! column: lost integer additive
--! column: win_rate percent non_additive
--! column: win_rate_by_amount percent non_additive
SELECT
    coalesce(accounts.industry, 'unknown') AS industry,
    count(*) FILTER (WHERE deals.status = 'won') AS won,
    count(*) FILTER (WHERE deals.status = 'lost') AS lost,
    CAST(count(*) FILTER (WHERE deals.status = 'won') AS DOUBLE) / count(*) AS win_rate,
    sum(deals.amount) FILTER (WHERE deals.status = 'won') / nullif(sum(deals.amount), 0) AS win_rate_by_amount
FROM deals
LEFT JOIN accounts ON accounts.account_id = deals.account_id
WHERE deals.status IN ('won', 'lost')
GROUP BY 1
ORDER BY industry
