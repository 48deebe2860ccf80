SELECT customer_id,
  ARRAY_TO_STRING(ARRAY_AGG(category ORDER BY ts DESC, transaction_id LIMIT 3), '>') AS last3,
  ARRAY_LENGTH(ARRAY_AGG(DISTINCT category IGNORE NULLS)) AS n_cat,
  STRING_AGG(DISTINCT channel, ',' ORDER BY channel) AS channels
FROM `acme-prod.crm.transactions` WHERE ts < @run_time GROUP BY customer_id
