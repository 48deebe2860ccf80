SELECT customer_id, {{ std.sum_within('ordered_on', 'amount_usd', 30) }} AS spend_30d_usd
FROM shop.orders
GROUP BY customer_id
