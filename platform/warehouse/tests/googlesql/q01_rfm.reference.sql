select customer_id, date_diff('day', max(ts)::date, TIMESTAMP '2024-12-01 00:00:00'::date), count(*), sum(amount), avg(amount) from transactions
 where ts<TIMESTAMP '2024-12-01 00:00:00' and ts>=TIMESTAMP '2024-12-01 00:00:00' - interval 365 day group by 1
