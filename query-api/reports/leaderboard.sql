--! group: team
--! title: Leaderboard
--! question: Who won most in the last 90 days, and how often do they win?
--! grain: one row per owner and currency
--! chart: table
--! column: owner_id text
--! column: currency text
--! column: won integer additive
--! column: won_amount money additive
--! column: win_rate percent non_additive
--! column: open_amount money semi_additive
SELECT
    coalesce(owner_id, 'none') AS owner_id,
    coalesce(currency, '') AS currency,
    count(*) FILTER (WHERE status = 'won' AND closed_at >= {as_of} - interval '90 days') AS won,
    coalesce(sum(amount) FILTER (WHERE status = 'won' AND closed_at >= {as_of} - interval '90 days'), 0.0) AS won_amount,
    CAST(count(*) FILTER (WHERE status = 'won') AS DOUBLE) / nullif(count(*) FILTER (WHERE status IN ('won', 'lost')), 0) AS win_rate,
    coalesce(sum(amount) FILTER (WHERE status = 'open'), 0.0) AS open_amount
FROM deals
GROUP BY 1, 2
ORDER BY won_amount DESC, owner_id
