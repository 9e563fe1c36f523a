--! group: results
--! title: Won by quarter
--! question: How much was won in each quarter?
--! grain: one row per calendar quarter and currency
--! chart: bar
--! column: quarter date
--! column: currency text
--! column: deals integer additive
--! column: amount money additive
SELECT
    date_trunc('quarter', closed_at) AS quarter,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount
FROM deals
WHERE status = 'won' AND closed_at IS NOT NULL
GROUP BY 1, 2
ORDER BY quarter
