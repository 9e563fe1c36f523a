--! group: pipeline
--! title: Open pipeline
--! question: How much is open now?
--! grain: one row per currency
--! chart: number
--! column: currency text
--! column: deals integer semi_additive
--! column: amount money semi_additive
--! column: average_amount money non_additive
--! column: median_amount money non_additive
SELECT
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount,
    avg(amount) AS average_amount,
    median(amount) AS median_amount
FROM deals
WHERE status = 'open'
GROUP BY 1
ORDER BY amount DESC NULLS LAST
