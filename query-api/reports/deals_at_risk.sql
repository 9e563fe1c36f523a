--! group: scores
--! title: Deals at risk
--! question: Which open deals are unhealthy, and how much is in them?
--! grain: one row per deal
--! chart: table
--! column: deal_id text
--! column: name text
--! column: owner_id text
--! column: stage text
--! column: currency text
--! column: amount money semi_additive
--! column: health decimal non_additive
--! column: reasons text
SELECT
    deals.deal_id,
    deals.name,
    deals.owner_id,
    deals.stage,
    coalesce(deals.currency, '') AS currency,
    deals.amount,
    scores.value AS health,
    scores.reasons
FROM deals
JOIN scores ON scores.entity_id = deals.deal_id AND scores.entity_kind = 'deal' AND scores.score = 'health'
WHERE deals.status = 'open' AND scores.tier IN ('critical', 'at_risk')
ORDER BY deals.amount DESC NULLS LAST
