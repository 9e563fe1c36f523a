--! group: data quality
--! title: Open deals with missing facts
--! question: Which open deals lack an amount, a close date, an owner or an account?
--! grain: one row per missing fact
--! chart: bar
--! column: missing text
--! column: deals integer semi_additive
SELECT missing, count(*) AS deals
FROM (
    SELECT 'amount' AS missing FROM deals WHERE status = 'open' AND amount IS NULL
    UNION ALL
    SELECT 'close date' AS missing FROM deals WHERE status = 'open' AND close_date IS NULL
    UNION ALL
    SELECT 'owner' AS missing FROM deals WHERE status = 'open' AND owner_id IS NULL
    UNION ALL
    SELECT 'account' AS missing FROM deals WHERE status = 'open' AND account_id IS NULL
    UNION ALL
    SELECT 'stage' AS missing FROM deals WHERE status = 'open' AND stage IS NULL
) AS gaps
GROUP BY 1
ORDER BY deals DESC
