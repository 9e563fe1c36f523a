--! group: attribution
--! title: Attribution, linear
--! question: Which kinds of touch took part in what was won?
--! description: Each kind of touch of the account that first came before the deal was won gets an equal share of its amount. Deals without any touch are left out.
--! grain: one row per touch type and currency
--! chart: bar
--! column: type text
--! column: currency text
--! column: touches integer additive
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
counted AS (
    SELECT deal_id, count(*) AS touches
    FROM touches
    GROUP BY 1
)
SELECT touches.type, touches.currency, count(*) AS touches, sum(touches.amount / counted.touches) AS attributed
FROM touches
JOIN counted ON counted.deal_id = touches.deal_id
GROUP BY 1, 2
ORDER BY attributed DESC
