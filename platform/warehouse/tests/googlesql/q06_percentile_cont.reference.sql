select customer_id, quantile_cont(amount,0.5) from transactions where ts<TIMESTAMP '2024-12-01 00:00:00' group by 1
