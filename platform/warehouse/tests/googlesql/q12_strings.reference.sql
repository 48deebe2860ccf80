select customer_id, nullif(regexp_extract(lower(trim(email)),'@(.+)$',1),''), sha256(lower(trim(email))), try_cast(loyalty_tier as bigint), coalesce(loyalty_tier,'none'), split(trim(email),'@')[2],
 regexp_matches(email,'(?i)user1'), date_diff('year', birth_date, TIMESTAMP '2024-12-01 00:00:00'::date), starts_with(country,'F') from customers
