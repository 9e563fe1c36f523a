--! group: pipeline
--! title: Open pipeline by owner
--! question: Who holds how much open pipeline?
--! grain: one row per owner and currency
--! chart: bar
--! column: owner_id text
--! column: currency text
--! column: deals integer semi_additive
--! column: amount money semi_additive
--! column: average_amount money non_additive
SELECT
    coalesce(owner_id, 'none') AS owner_id,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount,
    avg(amount) AS average_amount
FROM deals
WHERE status = 'open'
GROUP BY 1, 2
ORDER BY amount DESC NULLS LAST
