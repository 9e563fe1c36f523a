--! group: attribution
--! title: Attribution, Shapley values
--! question: Which kinds of touch make the difference between won and lost?
--! description: Each kind earns its mean difference to the win rate over all combinations of kinds (Shapley value), scaled to what was won by deals with a touch. A kind that goes with losing gets a negative amount.
--! grain: one row per touch type and currency
--! chart: bar
--! column: type text
--! column: currency text
--! column: touched_deals integer
--! column: deals decimal additive
--! column: attributed money additive
SELECT type, currency, CAST(touched_deals AS BIGINT) AS touched_deals, deals, attributed
FROM attribution('shapley')
ORDER BY attributed DESC
