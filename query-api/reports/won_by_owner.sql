--! group: results
--! title: Won by owner in the last 90 days
--! question: Who won how much?
--! grain: one row per owner and currency
--! chart: bar
--! column: owner_id text
--! column: currency text
--! column: deals integer additive
--! column: amount money additive
SELECT
    coalesce(owner_id, 'none') AS owner_id,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount
FROM deals
WHERE status = 'won' AND closed_at >= {as_of} - interval '90 days'
GROUP BY 1, 2
ORDER BY amount DESC NULLS LAST
