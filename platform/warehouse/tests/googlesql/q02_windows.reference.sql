select customer_id, count(*) filter (ts>=TIMESTAMP '2024-12-01 00:00:00' - interval 30 day), count(*) filter (ts>=TIMESTAMP '2024-12-01 00:00:00' - interval 90 day),
 sum(case when ts>=TIMESTAMP '2024-12-01 00:00:00' - interval 90 day then amount else 0 end),
 case when count(*) filter (channel='web')=0 then null else (count(*) filter (promo))::double/(count(*) filter (channel='web')) end,
 count(distinct case when channel='app' then ts::date end) from transactions where ts<TIMESTAMP '2024-12-01 00:00:00' group by 1
