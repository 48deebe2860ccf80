SELECT customer_id, {{ std.count_within('ordered_on', 30) }} AS orders_30d
FROM shop.orders
GROUP BY customer_id
