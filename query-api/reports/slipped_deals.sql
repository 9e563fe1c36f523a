--! group: ageing
--! title: Deals that slipped
--! question: Which open deals had their close date moved back, and how often?
--! grain: one row per deal
--! chart: table
--! column: deal_id text
--! column: name text
--! column: owner_id text
--! column: stage text
--! column: currency text
--! column: amount money semi_additive
--! column: slips integer semi_additive
--! column: close_date date
SELECT
    deal_id,
    name,
    owner_id,
    stage,
    coalesce(currency, '') AS currency,
    amount,
    slips,
    close_date
FROM deals
WHERE status = 'open' AND slips > 0
ORDER BY slips DESC, amount DESC NULLS LAST
