SELECT customer_id,
  COUNTIF(ts >= TIMESTAMP_SUB(@run_time, INTERVAL 30 DAY)) AS tx_30d,
  COUNTIF(ts >= TIMESTAMP_SUB(@run_time, INTERVAL 90 DAY)) AS tx_90d,
  SUM(IF(ts >= TIMESTAMP_SUB(@run_time, INTERVAL 90 DAY), amount, 0)) AS spend_90d,
  SAFE_DIVIDE(COUNTIF(promo), COUNTIF(channel = 'web')) AS promo_per_web,
  COUNT(DISTINCT IF(channel = 'app', DATE(ts), NULL)) AS app_days
FROM `acme-prod.crm.transactions` WHERE ts < @run_time GROUP BY customer_id
