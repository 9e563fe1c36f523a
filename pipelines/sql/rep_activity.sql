--! description: What each of our people did on each day, by event type and direction.
--! entity: user
--! key: user_id
INSERT INTO rep_activity
SELECT
    tenant_id,
    user_id,
    day,
    type,
    direction,
    count(*) AS n,
    sum(coalesce(value, 0.0)) AS value_sum
FROM (
    SELECT
        tenant_id,
        user_id,
        date_bin(interval '1 day', event_time) AS day,
        type,
        direction,
        value
    FROM events
    WHERE kind = 'engagement' AND user_id IS NOT NULL
) AS activity
GROUP BY tenant_id, user_id, day, type, direction
