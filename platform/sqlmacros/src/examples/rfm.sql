SELECT customer_id, {{ std.rfm('ordered_on', 'amount_usd') }}
FROM shop.orders
GROUP BY customer_id
