--! group: win/loss
--! title: Win rate by number of slips
--! question: Does a deal that slips still close?
--! description: Won of won and lost: by count, and by amount beside it.
--! grain: one row per slips
--! chart: bar
--! column: slips text
--! column: won integer additive
--! column: lost integer additive
--! column: win_rate percent non_additive
--! column: win_rate_by_amount percent non_additive
SELECT
    CASE WHEN deals.slips >= 3 THEN '3 and more' ELSE CAST(CAST(coalesce(deals.slips, 0) AS BIGINT) AS VARCHAR) END AS slips,
    count(*) FILTER (WHERE deals.status = 'won') AS won,
    count(*) FILTER (WHERE deals.status = 'lost') AS lost,
    CAST(count(*) FILTER (WHERE deals.status = 'won') AS DOUBLE) / count(*) AS win_rate,
    sum(deals.amount) FILTER (WHERE deals.status = 'won') / nullif(sum(deals.amount), 0) AS win_rate_by_amount
FROM deals
WHERE deals.status IN ('won', 'lost')
GROUP BY 1
ORDER BY slips
