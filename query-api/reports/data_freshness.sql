--! group: data quality
--! title: Freshness of sources
--! question: How fresh and how late is each source?
--! grain: one row per source
--! chart: table
--! column: source text
--! column: events integer additive
--! column: late integer additive
--! column: last_event instant
--! column: last_received instant
--! column: hours_silent decimal non_additive
SELECT
    source,
    CAST(sum(n) AS BIGINT) AS events,
    CAST(sum(late_n) AS BIGINT) AS late,
    max(event_time) AS last_event,
    max(ingested_at) AS last_received,
    (extract(epoch FROM {as_of}) - extract(epoch FROM max(ingested_at))) / 3600.0 AS hours_silent
FROM event_counts
GROUP BY 1
ORDER BY events DESC
