--! group: anomaly
--! title: Unusual days
--! question: On which days was a kind of event far from usual?
--! description: Robust z: 0.6745 (x - median) / MAD (Iglewicz and Hoaglin); types seen on fewer than 14 days are left out.
--! grain: one row per type and day beyond 3.5 robust deviations
--! chart: table
--! column: day date
--! column: type text
--! column: events integer additive
--! column: usual decimal non_additive
--! column: robust_z decimal non_additive
WITH daily AS (
    SELECT day, type, CAST(sum(n) AS DOUBLE) AS observed
    FROM event_counts
    WHERE kind = 'engagement'
    GROUP BY 1, 2
),
usual AS (
    SELECT type, median(observed) AS middle, count(*) AS days
    FROM daily
    GROUP BY 1
),
spread AS (
    SELECT daily.type, median(abs(daily.observed - usual.middle)) AS mad
    FROM daily
    JOIN usual ON usual.type = daily.type
    GROUP BY 1
)
SELECT day, type, CAST(observed AS BIGINT) AS events, middle AS usual, robust_z
FROM (
    SELECT
        daily.day,
        daily.type,
        daily.observed,
        usual.middle,
        0.6745 * (daily.observed - usual.middle) / spread.mad AS robust_z
    FROM daily
    JOIN usual ON usual.type = daily.type
    JOIN spread ON spread.type = daily.type
    WHERE usual.days >= 14 AND spread.mad > 0
) AS measured
WHERE abs(robust_z) > 3.5
ORDER BY day DESC, type
