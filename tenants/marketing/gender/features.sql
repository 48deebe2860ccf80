-- One row per customer. An unknown birth year or average basket stays NULL: the model was trained
-- with gaps and carries its own replacement for each, so the query invents no value.
SELECT
  user_id,
  birth_year,
  beauty_views,
  electronics_views,
  sports_views,
  home_views,
  purchases,
  basket_mean_jpy,
  night_share,
  app_opens,
  IF(has_used_coupon, 1, 0) AS coupon_used
FROM demo.customers
