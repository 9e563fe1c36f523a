--! group: marketing
--! title: Accounts by industry
--! question: Who is in our market, and where do we have deals?
--! grain: one row per industry
--! chart: bar
--! column: industry text
--! column: accounts integer semi_additive
--! column: with_open_deal integer semi_additive
SELECT
    coalesce(accounts.industry, 'unknown') AS industry,
    count(*) AS accounts,
    count(*) FILTER (WHERE open_deals.account_id IS NOT NULL) AS with_open_deal
FROM accounts
LEFT JOIN (SELECT DISTINCT account_id FROM deals WHERE status = 'open') AS open_deals
    ON open_deals.account_id = accounts.account_id
GROUP BY 1
ORDER BY accounts DESC
