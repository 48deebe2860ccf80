select customer_id, stddev_samp(amount), bool_or(promo), max_by(category, ts), max_by(store_id, ts), date_diff('month', min(ts)::date, TIMESTAMP '2024-12-01 00:00:00'::date),
 (date_diff('day', date '1970-01-04', date_trunc('week', TIMESTAMP '2024-12-01 00:00:00'::date + interval 1 day)::date - 1) - date_diff('day', date '1970-01-04', date_trunc('week', min(ts)::date + interval 1 day)::date - 1))//7,
 (epoch_us(max(ts))-epoch_us(min(ts)))//3600000000, null, round(sum(amount),2), count(*)//7, 3.5 from transactions where ts<TIMESTAMP '2024-12-01 00:00:00' group by 1
