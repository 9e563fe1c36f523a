--! group: pipeline
--! title: Pipeline created by month
--! question: How much pipeline was created in each month?
--! description: Amounts as they stand now, by the month of creation.
--! grain: one row per month of creation and currency
--! chart: line
--! column: month date
--! column: currency text
--! column: deals integer additive
--! column: amount money additive
SELECT
    date_trunc('month', created_at) AS month,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount
FROM deals
WHERE created_at IS NOT NULL
GROUP BY 1, 2
ORDER BY month
