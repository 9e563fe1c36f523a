--! group: funnel
--! title: Contact funnel
--! question: How many contacts were reached, opened, clicked, answered and met?
--! description: Machine opens and clicks are left out. One person with two addresses not yet merged counts twice.
--! grain: one row per step
--! chart: funnel
--! column: step text
--! column: contacts integer non_additive
SELECT step, count(DISTINCT contact_key) AS contacts
FROM (
    SELECT contact_key, '1 mailed' AS step FROM contact_engagement WHERE type = 'email.sent'
    UNION ALL
    SELECT contact_key, '2 opened' AS step FROM contact_engagement WHERE type = 'email.opened' AND machine_class = 'none'
    UNION ALL
    SELECT contact_key, '3 clicked' AS step FROM contact_engagement WHERE type = 'email.clicked' AND machine_class = 'none'
    UNION ALL
    SELECT contact_key, '4 replied' AS step FROM contact_engagement WHERE type = 'email.replied'
    UNION ALL
    SELECT contact_key, '5 met' AS step FROM contact_engagement WHERE type = 'meeting.attended'
) AS steps
GROUP BY 1
ORDER BY step
