--! group: pipeline
--! title: Open pipeline by close month
--! question: When is the open pipeline expected to close?
--! grain: one row per month and currency
--! chart: bar
--! column: month date
--! column: currency text
--! column: deals integer semi_additive
--! column: amount money semi_additive
SELECT
    date_trunc('month', close_date) AS month,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount
FROM deals
WHERE status = 'open' AND close_date IS NOT NULL
GROUP BY 1, 2
ORDER BY month
