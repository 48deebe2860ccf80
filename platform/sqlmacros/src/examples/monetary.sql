SELECT customer_id, {{ std.monetary('ordered_on', 'amount_usd') }} AS monetary_usd
FROM shop.orders
GROUP BY customer_id
