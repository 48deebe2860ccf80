SELECT customer_id, {{ std.frequency('ordered_on') }} AS frequency
FROM shop.orders
GROUP BY customer_id
