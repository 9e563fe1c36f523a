--! description: What was said or written on each deal, as it was sent: transcripts, mails and notes with text.
--! entity: deal
--! key: deal_id
INSERT INTO deal_texts
SELECT
    tenant_id,
    deal_id,
    event_id,
    type,
    direction,
    count(*) AS n,
    min(event_time) AS event_time,
    min(user_id) AS user_id,
    min(payload) AS payload
FROM (
    SELECT tenant_id, deal_id, event_id, type, direction, event_time, user_id, payload
    FROM events
    WHERE kind = 'engagement' AND deal_id IS NOT NULL AND payload LIKE '%"text"%'
) AS texts
GROUP BY tenant_id, deal_id, event_id, type, direction
