--! group: pipeline
--! title: Open pipeline by industry
--! question: In which industries is the open pipeline?
--! grain: one row per industry and currency
--! chart: bar
--! column: industry text
--! column: currency text
--! column: deals integer semi_additive
--! column: amount money semi_additive
SELECT
    coalesce(accounts.industry, 'unknown') AS industry,
    coalesce(deals.currency, '') AS currency,
    count(*) AS deals,
    sum(deals.amount) AS amount
FROM deals
LEFT JOIN accounts ON accounts.account_id = deals.account_id
WHERE deals.status = 'open'
GROUP BY 1, 2
ORDER BY amount DESC NULLS LAST
