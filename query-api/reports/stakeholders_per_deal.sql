--! group: team
--! title: People per open deal
--! question: How many people have answered on each open deal?
--! grain: one row per deal
--! chart: table
--! column: deal_id text
--! column: name text
--! column: owner_id text
--! column: people integer non_additive
--! column: answered integer non_additive
SELECT
    deals.deal_id,
    deals.name,
    deals.owner_id,
    count(DISTINCT people.contact_key) AS people,
    count(DISTINCT people.contact_key) FILTER (WHERE people.direction = 'inbound' AND people.machine_class = 'none') AS answered
FROM deals
LEFT JOIN deal_contacts AS people ON people.deal_id = deals.deal_id
WHERE deals.status = 'open'
GROUP BY 1, 2, 3
ORDER BY answered, people
