--! group: funnel
--! title: Contact funnel
--! question: How many contacts were reached, opened, clicked, answered and met?
--! description: Machine opens and clicks are left out. One person with two addresses not yet merged counts twice.
--! grain: one row per step
--! chart: funnel
--! column: step text
--! column: contacts integer non_additive
SELECT
    CASE type
        WHEN 'email.sent' THEN '1 mailed'
        WHEN 'email.opened' THEN '2 opened'
        WHEN 'email.clicked' THEN '3 clicked'
        WHEN 'email.replied' THEN '4 replied'
        ELSE '5 met'
    END AS step,
    count(DISTINCT contact_key) AS contacts
FROM contact_engagement
WHERE
    type IN ('email.sent', 'email.replied', 'meeting.attended')
    OR (type IN ('email.opened', 'email.clicked') AND machine_class = 'none')
GROUP BY 1
ORDER BY step
