--! group: ageing
--! title: Stagnant deals
--! question: Which open deals have not moved for 30 days?
--! grain: one row per deal
--! chart: table
--! column: deal_id text
--! column: name text
--! column: owner_id text
--! column: stage text
--! column: currency text
--! column: amount money semi_additive
--! column: days_in_stage days non_additive
SELECT
    deal_id,
    name,
    owner_id,
    stage,
    coalesce(currency, '') AS currency,
    amount,
    (extract(epoch FROM {as_of}) - extract(epoch FROM stage_entered_at)) / 86400.0 AS days_in_stage
FROM deals
WHERE status = 'open' AND stage_entered_at < {as_of} - interval '30 days'
ORDER BY days_in_stage DESC
