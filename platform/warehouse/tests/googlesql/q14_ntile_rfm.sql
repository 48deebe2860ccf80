WITH base AS (
  SELECT customer_id, MAX(ts) AS last_ts, COUNT(*) AS f, SUM(amount) AS m FROM `acme-prod.crm.transactions` WHERE ts < @run_time GROUP BY customer_id
)
SELECT customer_id,
  CONCAT(CAST(NTILE(5) OVER (ORDER BY last_ts, customer_id) AS STRING), CAST(NTILE(5) OVER w AS STRING), CAST(NTILE(5) OVER (ORDER BY m, customer_id) AS STRING)) AS rfm,
  PERCENT_RANK() OVER w AS f_rank
FROM base WINDOW w AS (ORDER BY f, customer_id)
