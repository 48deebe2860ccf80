with base as (select customer_id, max(ts) l, count(*) f, sum(amount) m from transactions where ts<TIMESTAMP '2024-12-01 00:00:00' group by 1)
 select customer_id, ntile(5) over (order by l,customer_id)::varchar||ntile(5) over (order by f,customer_id)::varchar||ntile(5) over (order by m,customer_id)::varchar, percent_rank() over (order by f,customer_id) from base
