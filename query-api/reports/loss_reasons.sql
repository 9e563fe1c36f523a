--! group: win/loss
--! title: Reasons of loss
--! question: Why do we lose?
--! grain: one row per reason and currency
--! chart: bar
--! column: reason text
--! column: currency text
--! column: deals integer additive
--! column: amount money additive
SELECT
    coalesce(loss_reason, 'not given') AS reason,
    coalesce(currency, '') AS currency,
    count(*) AS deals,
    sum(amount) AS amount
FROM deals
WHERE status = 'lost'
GROUP BY 1, 2
ORDER BY deals DESC
