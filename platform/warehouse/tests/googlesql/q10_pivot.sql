SELECT * FROM (SELECT customer_id, channel, amount FROM `acme-prod.crm.transactions` WHERE ts < @run_time)
PIVOT (SUM(amount) AS spend, COUNT(*) AS n FOR channel IN ('web', 'app', 'store'))
