--! group: ageing
--! title: Slips by owner
--! question: Whose close dates move back most?
--! grain: one row per owner
--! chart: bar
--! column: owner_id text
--! column: deals integer semi_additive
--! column: slipped integer semi_additive
--! column: slips integer semi_additive
--! column: share_slipped percent non_additive
SELECT
    coalesce(owner_id, 'none') AS owner_id,
    count(*) AS deals,
    count(*) FILTER (WHERE slips > 0) AS slipped,
    sum(slips) AS slips,
    CAST(count(*) FILTER (WHERE slips > 0) AS DOUBLE) / count(*) AS share_slipped
FROM deals
GROUP BY 1
ORDER BY slips DESC
