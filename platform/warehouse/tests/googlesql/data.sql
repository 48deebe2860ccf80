-- The reference data: small, deterministic, made by DuckDB itself.
SET threads = 1; SELECT setseed(0.42); SET TimeZone = 'UTC';
CREATE TABLE transactions AS SELECT i AS transaction_id, CAST(floor(500 * pow(random(), 2)) AS BIGINT) AS customer_id,
  (TIMESTAMP '2023-01-01' + INTERVAL 1 SECOND * CAST(floor(random() * 63072000) AS BIGINT)) AT TIME ZONE 'UTC' AS ts,
  round(exp(random() * 4), 2)::DOUBLE AS amount, CAST(floor(random() * 20) AS INTEGER) AS store_id,
  ['food', 'drink', 'home', 'fashion'][1 + CAST(floor(random() * 4) AS INTEGER)] AS category, random() < 0.1 AS promo,
  CASE WHEN random() < 0.35 THEN 'web' WHEN random() < 0.6 THEN 'app' ELSE 'store' END AS channel FROM range(20000) r(i);
CREATE TABLE events AS SELECT i AS event_id, CAST(floor(300 * random()) AS BIGINT) AS customer_id,
  (TIMESTAMP '2024-10-01' + INTERVAL 1 SECOND * CAST(floor(random() * 2592000) AS BIGINT)) AT TIME ZONE 'UTC' AS event_ts,
  ['view', 'cart', 'buy'][1 + CAST(floor(random() * 3) AS INTEGER)] AS event_name, '/p/' || CAST(floor(random() * 50) AS INTEGER) AS page,
  CASE WHEN random() < 0.5 THEN '{"campaign":"c' || CAST(floor(random() * 5) AS INTEGER) || '","v":' || CAST(floor(random() * 9) AS INTEGER) || '}' END AS props FROM range(8000) r(i);
CREATE TABLE customers AS SELECT i::BIGINT AS customer_id, (DATE '1950-01-01' + CAST(floor(random() * 18000) AS INTEGER))::DATE AS birth_date,
  (DATE '2020-01-01' + CAST(floor(random() * 1500) AS INTEGER))::DATE AS signup_date, ['FR', 'ES', 'IT', 'BE'][1 + CAST(floor(random() * 4) AS INTEGER)] AS country,
  CASE WHEN random() < 0.95 THEN ' User' || i || '@Mail' || (i % 7) || '.com ' END AS email, CASE WHEN random() < 0.3 THEN 'gold' WHEN random() < 0.5 THEN '12' END AS loyalty_tier FROM range(500) r(i);
CREATE TABLE baskets AS SELECT i::BIGINT AS basket_id, (i * 7 % 400)::BIGINT AS customer_id,
  (TIMESTAMP '2024-01-01' + INTERVAL 1 HOUR * (i * 3)) AT TIME ZONE 'UTC' AS ts,
  list_transform(range(1 + (i * 13) % 4), lambda j: {'sku': 's' || ((i + j * 5) % 30), 'qty': 1 + ((i * j) % 3), 'price': round(((i * 17 + j * 3) % 100) / 3.0, 2)::DOUBLE}) AS items FROM range(2500) r(i);
