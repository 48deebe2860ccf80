WITH sessions AS (
{{ std.session_lengths('shop.visits', key='user_id', time='seen_at', gap_minutes=10) }}
)
SELECT user_id, COUNT(*) AS sessions, AVG(session_seconds) AS session_mean_seconds, MAX(session_events) AS longest
FROM sessions
GROUP BY user_id
