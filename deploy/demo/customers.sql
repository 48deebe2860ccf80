-- The customers of the demo shop, made from nothing but their number: DuckDB SQL.
--
-- Before running, put the number of customers for {customers} and the file's path for {file}.
--
-- Row i depends on i alone, so the first million of a hundred million customers are the million of a smaller
-- table. Only integer arithmetic makes the values (the one division is of small integers, exact by IEEE 754):
-- any machine and any DuckDB gives the same rows. No random(), no hash() whose result a release may change.
--
-- The hidden gender shapes behaviour and is not written; tenants/marketing/gender/train.py asks the view for it.

-- lowbias32 by Chris Wellons, a bijection of 32 bits that passes for noise; UBIGINT holds each product.
CREATE OR REPLACE TEMP MACRO folded(x, bits) AS xor(x, x >> bits);
CREATE OR REPLACE TEMP MACRO mixed(x) AS
  folded((folded((folded(x, 16) * 2146121005::UBIGINT) & 4294967295::UBIGINT, 15) * 2221713035::UBIGINT) & 4294967295::UBIGINT, 16);
-- An independent 32-bit draw for each (customer, salt).
CREATE OR REPLACE TEMP MACRO draw(seed, salt) AS mixed((seed + salt::UBIGINT) & 4294967295::UBIGINT);
-- A whole number in 0..n-1, evenly.
CREATE OR REPLACE TEMP MACRO below(u, n) AS ((u * n::UBIGINT) >> 32)::INTEGER;
-- A whole number from 0 to about n, many small and few large: the product of the draw's two halves, mean n/4.
CREATE OR REPLACE TEMP MACRO skewed(u, n) AS (((u >> 16) * (u & 65535::UBIGINT) * n::UBIGINT) >> 32)::INTEGER;

CREATE OR REPLACE TEMP VIEW customers AS
WITH numbered AS (
  SELECT i, mixed(i::UBIGINT) AS seed FROM range({customers}) AS numbers(i)
),
drawn AS (
  SELECT
    i,
    draw(seed, 2654435769) < 2061584302 AS is_male, -- 48 in 100
    draw(seed, 1013904242) AS d_signup,
    draw(seed, 3668340011) AS d_birth,
    draw(seed, 2027808484) AS d_birth_known,
    draw(seed, 387276957) AS d_beauty,
    draw(seed, 3041712726) AS d_electronics,
    draw(seed, 1401181199) AS d_sports,
    draw(seed, 4055616968) AS d_home,
    draw(seed, 2415085441) AS d_purchases,
    draw(seed, 774553914) AS d_basket,
    draw(seed, 3428989683) AS d_night,
    draw(seed, 1788458156) AS d_opens,
    draw(seed, 147926629) AS d_coupon
  FROM numbered
)
SELECT
  i + 1 AS user_id,
  DATE '2015-01-01' + below(d_signup, 4300) AS signup_date,
  -- One customer in eight never told.
  CASE WHEN below(d_birth_known, 8) > 0
    THEN 1946 + below((d_birth & 65535::UBIGINT) << 16, 32) + below((d_birth >> 16) << 16, 31) + CASE WHEN is_male THEN 0 ELSE 2 END
  END AS birth_year,
  skewed(d_beauty, CASE WHEN is_male THEN 22 ELSE 64 END) AS beauty_views,
  skewed(d_electronics, CASE WHEN is_male THEN 72 ELSE 34 END) AS electronics_views,
  skewed(d_sports, CASE WHEN is_male THEN 48 ELSE 30 END) AS sports_views,
  skewed(d_home, CASE WHEN is_male THEN 40 ELSE 52 END) AS home_views,
  skewed(d_purchases, CASE WHEN is_male THEN 20 ELSE 26 END) AS purchases,
  -- Nobody has an average basket before the first purchase.
  CASE WHEN skewed(d_purchases, CASE WHEN is_male THEN 20 ELSE 26 END) > 0
    THEN 600 + skewed(d_basket, CASE WHEN is_male THEN 26000 ELSE 20000 END)
  END AS basket_mean_jpy,
  (below(d_night, 61) + CASE WHEN is_male THEN 12 ELSE 4 END)::DOUBLE / 100 AS night_share,
  skewed(d_opens, CASE WHEN is_male THEN 160 ELSE 200 END) AS app_opens,
  below(d_coupon, 100) < CASE WHEN is_male THEN 31 ELSE 46 END AS has_used_coupon,
  is_male
FROM drawn;

COPY (SELECT * EXCLUDE (is_male) FROM customers)
TO '{file}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880);
