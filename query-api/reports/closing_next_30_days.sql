--! group: pipeline
--! title: Deals that close in the next 30 days
--! question: What is due in the coming month?
--! grain: one row per deal
--! chart: table
--! column: deal_id text
--! column: name text
--! column: owner_id text
--! column: stage text
--! column: forecast_category text
--! column: currency text
--! column: amount money semi_additive
--! column: close_date date
SELECT
    deal_id,
    name,
    owner_id,
    stage,
    forecast_category,
    coalesce(currency, '') AS currency,
    amount,
    close_date
FROM deals
WHERE status = 'open' AND close_date >= {as_of} AND close_date < {as_of} + interval '30 days'
ORDER BY close_date
