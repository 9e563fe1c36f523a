--! group: pipeline
--! title: Open pipeline by deal size
--! question: Is the pipeline many small deals or a few large ones?
--! grain: one row per size class and currency
--! chart: bar
--! column: size text
--! column: currency text
--! column: deals integer semi_additive
--! column: amount money semi_additive
SELECT
    CASE
        WHEN amount IS NULL THEN 'no amount'
        WHEN amount < 10000 THEN 'a: under 10k'
        WHEN amount < 25000 THEN 'b: 10k to 25k'
        WHEN amount < 50000 THEN 'c: 25k to 50k'
        WHEN amount < 100000 THEN 'd: 50k to 100k'
        ELSE 'e: 100k and more'
    END AS size,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount
FROM deals
WHERE status = 'open'
GROUP BY 1, 2
ORDER BY size
