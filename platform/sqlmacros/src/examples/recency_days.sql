SELECT customer_id, {{ std.recency_days('ordered_on') }} AS recency_days
FROM shop.orders
GROUP BY customer_id
