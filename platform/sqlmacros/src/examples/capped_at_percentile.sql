SELECT
  customer_id,
  {{ std.capped_at_percentile('spend_usd', high=0.9) }} AS spend_usd,
  {{ std.capped_at_percentile('spend_usd', low=0.25, high=0.75, within='country') }} AS spend_in_country_usd
FROM shop.customers
