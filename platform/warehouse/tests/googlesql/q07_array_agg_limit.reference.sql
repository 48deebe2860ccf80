select customer_id, array_to_string(list(category order by ts desc, transaction_id)[1:3],'>'), len(list(distinct category)), string_agg(distinct channel, ',' order by channel)
 from transactions where ts<TIMESTAMP '2024-12-01 00:00:00' group by 1
