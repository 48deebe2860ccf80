SELECT DISTINCT customer_id, PERCENTILE_CONT(amount, 0.5) OVER (PARTITION BY customer_id) AS median_amount
FROM `acme-prod.crm.transactions` WHERE ts < @run_time
