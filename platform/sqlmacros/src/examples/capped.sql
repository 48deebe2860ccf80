SELECT
  customer_id,
  {{ std.capped('spend_usd', low=0, high=500) }} AS spend_usd,
  {{ std.capped('orders', high=10) }} AS orders
FROM shop.customers
