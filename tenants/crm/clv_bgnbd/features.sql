-- One row per customer: the purchase history as buy-till-you-die models count it, as known at the end
-- of the calibration weeks. Purchases of one day are one purchase, and the first day is not a repeat.
{% set as_of = "DATE '1997-09-30'" %}
WITH days AS (
  SELECT
    customer_id,
    ordered_at AS day,
    SUM(amount_usd) AS spend_usd,
    MIN(ordered_at) OVER (PARTITION BY customer_id) AS first_day
  FROM cdnow.orders
  WHERE ordered_at <= {{ as_of }}
  GROUP BY customer_id, ordered_at
)
SELECT
  customer_id,
  COUNT(*) - 1 AS frequency,
  -- From the first purchase to the last, as the model defines recency; a customer without a repeat has 0.
  {{ team.weeks('MIN(day)', 'MAX(day)') }} AS recency_weeks,
  {{ team.weeks('MIN(day)', as_of) }} AS age_weeks,
  -- Unknown, not zero, without a repeat purchase: the model then takes the population's mean.
  AVG(IF(day > first_day, spend_usd, NULL)) AS order_mean_usd
FROM days
GROUP BY customer_id
