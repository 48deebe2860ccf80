-- A tree may sum to slightly below zero; nobody is expected to spend less than nothing.
WITH spend AS (
  SELECT customer_id, GREATEST(CAST(clv AS FLOAT64), 0) AS clv_39w, explanation
  FROM model_outputs
),
ranked AS (
  SELECT
    customer_id,
    clv_39w,
    -- Equal predictions share a rank, so equal customers share a tier.
    PERCENT_RANK() OVER (ORDER BY clv_39w) AS share_below,
    -- Ten equally large groups, 10 the most valuable; the id settles ties, so a repeat gives the same groups.
    NTILE(10) OVER (ORDER BY clv_39w, customer_id) AS decile,
    explanation
  FROM spend
)
SELECT
  customer_id,
  clv_39w,
  CASE
    WHEN share_below >= 0.8 THEN 'High'
    WHEN share_below >= 0.5 THEN 'Medium'
    ELSE 'Low'
  END AS tier,
  decile,
  -- The greatest contributions to the model's answer, as it gave them: before a rank or a tier.
  explanation
FROM ranked
