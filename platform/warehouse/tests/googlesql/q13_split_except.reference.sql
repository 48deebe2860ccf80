select customer_id, signup_date, upper(country), loyalty_tier, case when customer_id % 10 < 8 then 'train' else 'test' end from customers
