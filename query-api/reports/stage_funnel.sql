--! group: funnel
--! title: Funnel by stage
--! question: How many deals reached each stage, and how many were won from it?
--! description: Conversion is of the deals that ended, so that young deals do not look lost.
--! grain: one row per stage
--! chart: funnel
--! column: stage text
--! column: reached integer additive
--! column: won integer additive
--! column: conversion_to_won percent non_additive
SELECT
    changes.value AS stage,
    count(DISTINCT changes.deal_id) AS reached,
    count(DISTINCT changes.deal_id) FILTER (WHERE deals.status = 'won') AS won,
    CAST(count(DISTINCT changes.deal_id) FILTER (WHERE deals.status = 'won') AS DOUBLE)
        / nullif(count(DISTINCT changes.deal_id) FILTER (WHERE deals.status IN ('won', 'lost')), 0) AS conversion_to_won
FROM deal_history AS changes
JOIN deals ON deals.deal_id = changes.deal_id
WHERE changes.field IN ('stage', 'stage_name', 'deal_stage', 'dealstage') AND changes.value IS NOT NULL
GROUP BY 1
ORDER BY reached DESC
