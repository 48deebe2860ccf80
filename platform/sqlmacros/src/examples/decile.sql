SELECT customer_id, {{ std.decile('spend_usd', key='customer_id') }} AS decile
FROM shop.customers
