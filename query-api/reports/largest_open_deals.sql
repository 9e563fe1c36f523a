--! group: pipeline
--! title: Largest open deals
--! question: Which open deals matter most?
--! grain: one row per deal, the 50 largest
--! chart: table
--! column: deal_id text
--! column: name text
--! column: owner_id text
--! column: stage text
--! column: currency text
--! column: amount money semi_additive
--! column: close_date date
--! column: health decimal non_additive
SELECT
    deals.deal_id,
    deals.name,
    deals.owner_id,
    deals.stage,
    coalesce(deals.currency, '') AS currency,
    deals.amount,
    deals.close_date,
    health.value AS health
FROM deals
LEFT JOIN (SELECT entity_id, value FROM scores WHERE entity_kind = 'deal' AND score = 'health') AS health
    ON health.entity_id = deals.deal_id
WHERE deals.status = 'open'
ORDER BY deals.amount DESC NULLS LAST
LIMIT 50
