--! group: results
--! title: Won by month
--! question: How much was won in each month?
--! grain: one row per month of closing and currency
--! chart: line
--! column: month date
--! column: currency text
--! column: deals integer additive
--! column: amount money additive
--! column: average_amount money non_additive
SELECT
    date_trunc('month', closed_at) AS month,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount,
    avg(amount) AS average_amount
FROM deals
WHERE status = 'won' AND closed_at IS NOT NULL
GROUP BY 1, 2
ORDER BY month
