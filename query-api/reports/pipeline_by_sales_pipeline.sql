--! group: pipeline
--! title: Open pipeline by sales pipeline
--! question: How is the open pipeline spread over sales pipelines?
--! grain: one row per sales pipeline and currency
--! chart: bar
--! column: pipeline text
--! column: currency text
--! column: deals integer semi_additive
--! column: amount money semi_additive
--! column: average_amount money non_additive
SELECT
    coalesce(pipeline, 'none') AS pipeline,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount,
    avg(amount) AS average_amount
FROM deals
WHERE status = 'open'
GROUP BY 1, 2
ORDER BY amount DESC NULLS LAST
