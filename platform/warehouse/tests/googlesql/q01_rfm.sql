SELECT customer_id,
  DATE_DIFF(DATE(@run_time), DATE(MAX(ts)), DAY) AS recency_days,
  COUNT(*) AS frequency, SUM(amount) AS monetary, AVG(amount) AS avg_basket
FROM `acme-prod.crm.transactions`
WHERE ts < @run_time AND ts >= TIMESTAMP_SUB(@run_time, INTERVAL 365 DAY)
GROUP BY customer_id
