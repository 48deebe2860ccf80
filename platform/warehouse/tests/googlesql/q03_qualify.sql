SELECT customer_id, transaction_id, amount, channel AS last_channel
FROM `acme-prod.crm.transactions`
WHERE ts < @run_time
QUALIFY ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY ts DESC, transaction_id DESC) = 1
