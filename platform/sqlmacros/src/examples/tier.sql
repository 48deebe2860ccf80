SELECT
  customer_id,
  {{ std.tier('spend_usd') }} AS tier,
  {{ std.tier('spend_usd', cuts=[('top', 0.5)], otherwise='rest', within='country') }} AS tier_of_country
FROM shop.customers
