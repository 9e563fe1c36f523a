--! group: attribution
--! title: Attribution, last touch
--! question: Which kind of touch comes last before we win?
--! description: The whole amount goes to one kind of touch of the account, by the first time each kind was seen before the deal was won.
--! grain: one row per touch type and currency
--! chart: bar
--! column: type text
--! column: currency text
--! column: deals integer additive
--! column: attributed money additive
WITH touches AS (
    SELECT
        won.deal_id,
        won.currency,
        won.amount,
        touch.type,
        touch.first_time AS at
    FROM (SELECT deal_id, account_id, coalesce(currency, '') AS currency, amount, closed_at FROM deals WHERE status = 'won' AND amount > 0) AS won
    JOIN account_signals AS touch ON touch.account_key = won.account_id AND touch.first_time <= won.closed_at AND touch.machine_class = 'none'
),
ranked AS (
    SELECT type, currency, amount, row_number() OVER (PARTITION BY deal_id ORDER BY at DESC, type) AS place
    FROM touches
)
SELECT type, currency, count(*) AS deals, sum(amount) AS attributed
FROM ranked
WHERE place = 1
GROUP BY 1, 2
ORDER BY attributed DESC
