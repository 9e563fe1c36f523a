--! group: attribution
--! title: Attribution, removal effect
--! question: What would we have lost without each kind of touch?
--! description: A first-order Markov chain over the touches of all closed deals: each kind earns by how much rarer winning gets when it is taken out. Credit sums to what was won by deals with a touch.
--! grain: one row per touch type and currency
--! chart: bar
--! column: type text
--! column: currency text
--! column: touched_deals integer
--! column: deals decimal additive
--! column: attributed money additive
SELECT type, currency, CAST(touched_deals AS BIGINT) AS touched_deals, deals, attributed
FROM attribution('markov')
ORDER BY attributed DESC
