SELECT customer_id, STDDEV_SAMP(amount) AS sd, LOGICAL_OR(promo) AS any_promo, MAX_BY(category, ts) AS last_cat,
  ANY_VALUE(store_id HAVING MAX ts) AS last_store,
  DATE_DIFF(DATE(@run_time), DATE(MIN(ts)), MONTH) AS tenure_months, DATE_DIFF(DATE(@run_time), DATE(MIN(ts)), WEEK) AS tenure_weeks,
  TIMESTAMP_DIFF(MAX(ts), MIN(ts), HOUR) AS span_hours, SAFE_DIVIDE(SUM(amount), 0) AS z, ROUND(SUM(amount), 2) AS s,
  DIV(COUNT(*), 7) AS d7, 7 / 2 AS ratio
FROM `acme-prod.crm.transactions` WHERE ts < @run_time GROUP BY ALL
