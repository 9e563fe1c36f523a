--! group: pipeline
--! title: Open deals without a next step
--! question: Which open deals have no next step noted?
--! grain: one row per owner
--! chart: bar
--! column: owner_id text
--! column: deals integer semi_additive
--! column: without_next_step integer semi_additive
--! column: share percent non_additive
SELECT
    coalesce(owner_id, 'none') AS owner_id,
    count(*) AS deals,
    count(*) FILTER (WHERE next_step IS NULL OR trim(next_step) = '') AS without_next_step,
    CAST(count(*) FILTER (WHERE next_step IS NULL OR trim(next_step) = '') AS DOUBLE) / count(*) AS share
FROM deals
WHERE status = 'open'
GROUP BY 1
ORDER BY without_next_step DESC
