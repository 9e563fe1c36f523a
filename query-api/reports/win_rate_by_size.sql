--! group: win/loss
--! title: Win rate by deal size
--! question: Do we win small or large deals?
--! description: Won of won and lost: by count, and by amount beside it.
--! grain: one row per size
--! chart: bar
--! column: size text
--! column: won integer additive
--! column: lost integer additive
--! column: win_rate percent non_additive
--! column: win_rate_by_amount percent non_additive
SELECT
    CASE WHEN deals.amount IS NULL THEN 'no amount' WHEN deals.amount < 10000 THEN 'a: under 10k' WHEN deals.amount < 25000 THEN 'b: 10k to 25k' WHEN deals.amount < 50000 THEN 'c: 25k to 50k' WHEN deals.amount < 100000 THEN 'd: 50k to 100k' ELSE 'e: 100k and more' END AS size,
    count(*) FILTER (WHERE deals.status = 'won') AS won,
    count(*) FILTER (WHERE deals.status = 'lost') AS lost,
    CAST(count(*) FILTER (WHERE deals.status = 'won') AS DOUBLE) / count(*) AS win_rate,
    sum(deals.amount) FILTER (WHERE deals.status = 'won') / nullif(sum(deals.amount), 0) AS win_rate_by_amount
FROM deals
WHERE deals.status IN ('won', 'lost')
GROUP BY 1
ORDER BY size
