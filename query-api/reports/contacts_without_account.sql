--! group: data quality
--! title: Contacts without an account
--! question: How many contacts are bound to no account?
--! grain: one row per standing
--! chart: bar
--! column: standing text
--! column: contacts integer semi_additive
--! column: without_account integer semi_additive
SELECT
    CASE WHEN provisional THEN 'known from events only' ELSE 'in the CRM' END AS standing,
    count(*) AS contacts,
    count(*) FILTER (WHERE account_id IS NULL) AS without_account
FROM contacts
GROUP BY 1
ORDER BY standing
