select customer_id, transaction_id, amount, channel from (select *, row_number() over (partition by customer_id order by ts desc, transaction_id desc) rn
 from transactions where ts<TIMESTAMP '2024-12-01 00:00:00') where rn=1
