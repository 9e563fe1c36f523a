--! group: attribution
--! title: Attribution, time decay
--! question: Which kinds of touch come near the close of what we win?
--! description: Each kind of touch of a won deal earns by the nearness of its last use to the close, half as much for each 7 days. Deals without any touch are left out.
--! grain: one row per touch type and currency
--! chart: bar
--! column: type text
--! column: currency text
--! column: touched_deals integer
--! column: deals decimal additive
--! column: attributed money additive
SELECT type, currency, CAST(touched_deals AS BIGINT) AS touched_deals, deals, attributed
FROM attribution('time_decay')
ORDER BY attributed DESC
