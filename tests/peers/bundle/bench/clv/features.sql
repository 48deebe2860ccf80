-- The same fifteen features as the peer's features.sql, in the language of Cameo's tenants.
SELECT
  customer_id,
  DATE_DIFF(DATE '2026-10-01', DATE(MAX(ordered_at)), DAY) AS recency_days,
  COUNT(*) AS frequency,
  SUM(amount) AS monetary,
  AVG(amount) AS avg_order,
  DATE_DIFF(DATE '2026-10-01', DATE(MIN(ordered_at)), DAY) AS tenure_days,
  COUNTIF(ordered_at >= TIMESTAMP_SUB(TIMESTAMP '2026-10-01', INTERVAL 30 DAY)) AS orders_30d,
  COUNTIF(ordered_at >= TIMESTAMP_SUB(TIMESTAMP '2026-10-01', INTERVAL 90 DAY)) AS orders_90d,
  COUNTIF(ordered_at >= TIMESTAMP_SUB(TIMESTAMP '2026-10-01', INTERVAL 365 DAY)) AS orders_365d,
  SUM(IF(ordered_at >= TIMESTAMP_SUB(TIMESTAMP '2026-10-01', INTERVAL 30 DAY), amount, 0)) AS spend_30d,
  SUM(IF(ordered_at >= TIMESTAMP_SUB(TIMESTAMP '2026-10-01', INTERVAL 90 DAY), amount, 0)) AS spend_90d,
  SUM(IF(ordered_at >= TIMESTAMP_SUB(TIMESTAMP '2026-10-01', INTERVAL 365 DAY), amount, 0)) AS spend_365d,
  AVG(items) AS avg_items,
  MAX(amount) AS max_order,
  MIN(amount) AS min_order,
  STDDEV_SAMP(amount) AS sd_amount
FROM retail.orders
GROUP BY customer_id
