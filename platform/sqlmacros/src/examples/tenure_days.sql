SELECT customer_id, {{ std.tenure_days('ordered_on', as_of="DATE '2026-02-28'") }} AS tenure_days
FROM shop.orders
GROUP BY customer_id
