--! group: pipeline
--! title: Open pipeline by forecast category
--! question: How much of the open pipeline do reps call commit, best case or pipeline?
--! grain: one row per forecast category and currency
--! chart: bar
--! column: forecast_category text
--! column: currency text
--! column: deals integer semi_additive
--! column: amount money semi_additive
--! column: average_amount money non_additive
SELECT
    coalesce(forecast_category, 'none') AS forecast_category,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount,
    avg(amount) AS average_amount
FROM deals
WHERE status = 'open'
GROUP BY 1, 2
ORDER BY amount DESC NULLS LAST
