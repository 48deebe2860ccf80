SELECT
  customer_id,
  {{ std.safe_divide('spend_usd', 'orders') }} AS basket_usd,
  {{ std.safe_divide('spend_usd', 'orders', otherwise=0) }} AS basket_or_zero_usd
FROM shop.customers
