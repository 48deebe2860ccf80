-- One row per customer as the shop knew them on 1997-09-30, the end of the calibration weeks.
-- The data set ends in 1998, so the date is part of the query and not the run's date; it stands
-- in one place only, and everything below counts days back from it (0 = that very day).
WITH purchases AS (
  SELECT
    customer_id,
    DATE_DIFF(DATE '1997-09-30', ordered_at, DAY) AS days_ago,
    cds,
    amount_usd
  FROM cdnow.orders
)
SELECT
  customer_id,
  -- Recency counts from the as-of date to the last purchase, not from the first purchase to the last.
  MIN(days_ago) AS recency_days,
  MAX(days_ago) AS tenure_days,
  COUNT(*) AS frequency,
  SUM(amount_usd) AS monetary_usd,
  AVG(amount_usd) AS order_mean_usd,
  MAX(amount_usd) AS order_max_usd,
  -- Unknown, not zero, for whoever bought once: the model has learnt a branch for it.
  STDDEV_SAMP(amount_usd) AS order_deviation_usd,
  SAFE_DIVIDE(MAX(days_ago) - MIN(days_ago), COUNT(*) - 1) AS gap_mean_days,
  CAST(SUM(cds) AS INT64) AS cds,
  COUNTIF(days_ago < 30) AS orders_30d,
  COUNTIF(days_ago < 90) AS orders_90d,
  COUNTIF(days_ago < 270) AS orders_270d,
  SUM(IF(days_ago < 30, amount_usd, 0)) AS spend_30d_usd,
  SUM(IF(days_ago < 90, amount_usd, 0)) AS spend_90d_usd,
  SUM(IF(days_ago < 270, amount_usd, 0)) AS spend_270d_usd
FROM purchases
-- What happened after the as-of date is what the model predicts.
WHERE days_ago >= 0
GROUP BY customer_id
