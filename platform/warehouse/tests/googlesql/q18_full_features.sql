WITH params AS (SELECT @run_time AS as_of),
tx AS (SELECT t.*, p.as_of FROM `acme-prod.crm.transactions` AS t, params AS p WHERE t.ts < p.as_of AND t.ts >= TIMESTAMP_SUB(p.as_of, INTERVAL 365 DAY)),
agg AS (
  SELECT customer_id, TIMESTAMP_DIFF(ANY_VALUE(as_of), MAX(ts), DAY) AS recency, COUNT(*) AS f, SUM(amount) AS m,
    COUNT(DISTINCT category) AS cats, COALESCE(SAFE_DIVIDE(SUM(IF(promo, amount, 0)), SUM(amount)), 0) AS promo_share
  FROM tx GROUP BY customer_id
)
SELECT c.customer_id, IFNULL(a.recency, 9999) AS recency, IFNULL(a.f, 0) AS f, IFNULL(a.m, 0.0) AS m, a.cats, a.promo_share,
  c.country IN UNNEST(['FR', 'ES']) AS core_country, GREATEST(IFNULL(a.f, 0), 1) AS f1,
  EXISTS (SELECT 1 FROM `acme-prod.crm.events` AS e WHERE e.customer_id = c.customer_id AND e.event_name = 'buy') AS has_buy
FROM `acme-prod`.crm.customers AS c LEFT JOIN agg AS a USING (customer_id)
