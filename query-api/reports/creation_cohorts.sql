--! group: cohort
--! title: Cohorts of deals
--! question: What became of the deals created in each month?
--! grain: one row per month of creation
--! chart: table
--! column: cohort date
--! column: created integer additive
--! column: won integer additive
--! column: lost integer additive
--! column: open integer semi_additive
--! column: won_within_30_days integer additive
--! column: won_within_90_days integer additive
SELECT
    date_trunc('month', created_at) AS cohort,
    count(*) AS created,
    count(*) FILTER (WHERE status = 'won') AS won,
    count(*) FILTER (WHERE status = 'lost') AS lost,
    count(*) FILTER (WHERE status = 'open') AS open,
    count(*) FILTER (WHERE status = 'won' AND closed_at <= created_at + interval '30 days') AS won_within_30_days,
    count(*) FILTER (WHERE status = 'won' AND closed_at <= created_at + interval '90 days') AS won_within_90_days
FROM deals
WHERE created_at IS NOT NULL
GROUP BY 1
ORDER BY cohort
