SELECT b.customer_id, COUNT(DISTINCT it.sku) AS skus, SUM(it.qty * it.price) AS spend, MAX(off) AS max_off
FROM `acme-prod.crm.baskets` AS b, UNNEST(b.items) AS it WITH OFFSET AS off
WHERE b.ts < @run_time
GROUP BY b.customer_id
