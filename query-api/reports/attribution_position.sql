--! group: attribution
--! title: Attribution, position based
--! question: Which kinds of touch open and close what we win?
--! description: 40 % of each won deal to the kind of touch that first came first, 40 % to the one that first came last, the rest alike to those between. Deals without any touch are left out.
--! grain: one row per touch type and currency
--! chart: bar
--! column: type text
--! column: currency text
--! column: touched_deals integer
--! column: deals decimal additive
--! column: attributed money additive
SELECT type, currency, CAST(touched_deals AS BIGINT) AS touched_deals, deals, attributed
FROM attribution('position')
ORDER BY attributed DESC
