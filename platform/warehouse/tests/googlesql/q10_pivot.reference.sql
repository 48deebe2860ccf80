select customer_id, sum(amount) filter (channel='web'), count(*) filter (channel='web'), sum(amount) filter (channel='app'), count(*) filter (channel='app'),
 sum(amount) filter (channel='store'), count(*) filter (channel='store') from transactions where ts<TIMESTAMP '2024-12-01 00:00:00' group by 1
