--! group: pipeline
--! title: Open deals past their close date
--! question: Which open deals should have closed already?
--! grain: one row per deal
--! chart: table
--! column: deal_id text
--! column: name text
--! column: owner_id text
--! column: stage text
--! column: currency text
--! column: amount money semi_additive
--! column: close_date date
--! column: days_overdue days non_additive
SELECT
    deal_id,
    name,
    owner_id,
    stage,
    coalesce(currency, '') AS currency,
    amount,
    close_date,
    (extract(epoch FROM {as_of}) - extract(epoch FROM close_date)) / 86400.0 AS days_overdue
FROM deals
WHERE status = 'open' AND close_date < {as_of}
ORDER BY days_overdue DESC
