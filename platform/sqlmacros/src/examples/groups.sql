SELECT
  customer_id,
  {{ std.groups('spend_usd', key='customer_id', groups=4) }} AS quartile,
  {{ std.groups('spend_usd', key='customer_id', groups=2, within='country') }} AS half_of_country
FROM shop.customers
