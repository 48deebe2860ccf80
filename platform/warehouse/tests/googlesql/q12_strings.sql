SELECT customer_id, REGEXP_EXTRACT(LOWER(TRIM(email)), r'@(.+)$') AS domain,
  TO_HEX(SHA256(LOWER(TRIM(email)))) AS email_hash,
  SAFE_CAST(loyalty_tier AS INT64) AS tier_num, IFNULL(loyalty_tier, 'none') AS tier,
  SPLIT(TRIM(email), '@')[SAFE_OFFSET(1)] AS dom2, REGEXP_CONTAINS(email, r'(?i)user1') AS is_u1,
  DATE_DIFF(DATE(@run_time), birth_date, YEAR) AS age_years, STARTS_WITH(country, 'F') AS fr
FROM `acme-prod.crm.customers`
