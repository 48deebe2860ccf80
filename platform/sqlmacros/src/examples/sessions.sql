SELECT user_id, seen_at, page, session_number
FROM ({{ std.sessions('shop.visits', key='user_id', time='seen_at') }})
