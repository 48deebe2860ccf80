SELECT * EXCEPT (email, birth_date) REPLACE (UPPER(country) AS country),
  CASE WHEN MOD(customer_id, 10) < 8 THEN 'train' ELSE 'test' END AS split_name
FROM `acme-prod.crm.customers`
