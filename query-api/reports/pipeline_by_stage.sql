--! group: pipeline
--! title: Open pipeline by stage
--! question: Where in the process is the open pipeline?
--! grain: one row per stage and currency
--! chart: bar
--! column: stage text
--! column: currency text
--! column: deals integer semi_additive
--! column: amount money semi_additive
--! column: average_amount money non_additive
SELECT
    coalesce(stage, 'none') AS stage,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount,
    avg(amount) AS average_amount
FROM deals
WHERE status = 'open'
GROUP BY 1, 2
ORDER BY amount DESC NULLS LAST
