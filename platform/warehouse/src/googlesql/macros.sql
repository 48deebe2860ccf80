-- GoogleSQL's meaning where DuckDB has no function that means the same. `typeof` is folded when the
-- query is bound, so a branch for another type costs nothing at run time.
CREATE MACRO bq_date(x) AS CASE WHEN typeof(x) IN ('DATE', '"NULL"') THEN CAST(x AS DATE)
  ELSE CAST(error('expected a DATE, found ' || typeof(x) || '; wrap it in DATE(...)') AS DATE) END;
CREATE MACRO bq_ts(x) AS CASE WHEN typeof(x) IN ('TIMESTAMP', '"NULL"') THEN CAST(x AS TIMESTAMP)
  ELSE CAST(error('expected a TIMESTAMP, found ' || typeof(x) || '; wrap it in TIMESTAMP(...)') AS TIMESTAMP) END;
CREATE MACRO bq_to_timestamp(x) AS CASE WHEN typeof(x) IN ('TIMESTAMP', 'DATE', '"NULL"') THEN CAST(x AS TIMESTAMP)
  ELSE make_timestamp(epoch_us(CAST(x AS TIMESTAMPTZ))) END;
CREATE MACRO bq_safe_timestamp(x) AS CASE WHEN typeof(x) IN ('TIMESTAMP', 'DATE', '"NULL"') THEN CAST(x AS TIMESTAMP)
  ELSE make_timestamp(epoch_us(TRY_CAST(x AS TIMESTAMPTZ))) END;
-- A float rounds half away from zero; a string must be a whole number.
CREATE MACRO bq_int64(x) AS CASE
  WHEN typeof(x) IN ('DOUBLE', 'FLOAT') THEN CAST(round(TRY_CAST(x AS DOUBLE)) AS BIGINT)
  WHEN typeof(x) = 'VARCHAR' AND NOT regexp_full_match(CAST(x AS VARCHAR), '\s*[+-]?(\d+|0[xX][0-9a-fA-F]+)\s*')
    THEN CAST(error('cannot cast ''' || CAST(x AS VARCHAR) || ''' to INT64; use SAFE_CAST for NULL instead') AS BIGINT)
  ELSE CAST(x AS BIGINT) END;
CREATE MACRO bq_safe_int64(x) AS CASE
  WHEN typeof(x) IN ('DOUBLE', 'FLOAT') THEN TRY_CAST(round(TRY_CAST(x AS DOUBLE)) AS BIGINT)
  WHEN typeof(x) = 'VARCHAR' AND NOT regexp_full_match(CAST(x AS VARCHAR), '\s*[+-]?(\d+|0[xX][0-9a-fA-F]+)\s*') THEN NULL
  ELSE TRY_CAST(x AS BIGINT) END;
CREATE MACRO bq_string(x) AS CASE WHEN typeof(x) IN ('VARCHAR', 'BIGINT', 'HUGEINT', 'INTEGER', 'BOOLEAN', 'DATE', '"NULL"') THEN CAST(x AS VARCHAR)
  ELSE CAST(error('CAST(' || typeof(x) || ' AS STRING) is written differently by each engine; use FORMAT_TIMESTAMP, or CAST a float AS INT64 first') AS VARCHAR) END;
CREATE MACRO bq_bool(x) AS CASE
  WHEN typeof(x) = 'VARCHAR' AND lower(CAST(x AS VARCHAR)) NOT IN ('true', 'false')
    THEN CAST(error('cannot cast ''' || CAST(x AS VARCHAR) || ''' to BOOL') AS BOOLEAN)
  ELSE CAST(x AS BOOLEAN) END;
CREATE MACRO bq_safe_bool(x) AS CASE
  WHEN typeof(x) = 'VARCHAR' AND lower(CAST(x AS VARCHAR)) NOT IN ('true', 'false') THEN NULL
  ELSE TRY_CAST(x AS BOOLEAN) END;
CREATE MACRO bq_divide(a, b) AS CASE WHEN b = 0 THEN CAST(error('division by zero; use SAFE_DIVIDE for NULL instead') AS DOUBLE)
  ELSE CAST(a AS DOUBLE) / CAST(b AS DOUBLE) END;
CREATE MACRO bq_safe_divide(a, b) AS CASE WHEN b = 0 THEN NULL ELSE CAST(a AS DOUBLE) / CAST(b AS DOUBLE) END;
CREATE MACRO bq_mod(a, b) AS CASE WHEN b = 0 THEN CAST(error('division by zero in MOD') AS BIGINT) ELSE CAST(a AS BIGINT) % CAST(b AS BIGINT) END;
CREATE MACRO bq_div(a, b) AS CASE WHEN b = 0 THEN CAST(error('division by zero in DIV') AS BIGINT) ELSE CAST(a AS BIGINT) // CAST(b AS BIGINT) END;
CREATE MACRO bq_finite(x, y, what) AS CASE WHEN isfinite(x) AND NOT isfinite(y) THEN CAST(error('floating point error in ' || what) AS DOUBLE) ELSE y END;
CREATE MACRO bq_substr2(s, p) AS substring(s, CASE WHEN p = 0 THEN 1 WHEN p < 0 THEN greatest(length(s) + p + 1, 1) ELSE p END);
CREATE MACRO bq_substr3(s, p, n) AS CASE WHEN n < 0 THEN CAST(error('negative length in SUBSTR') AS VARCHAR)
  ELSE substring(s, CASE WHEN p = 0 THEN 1 WHEN p < 0 THEN greatest(length(s) + p + 1, 1) ELSE p END, n) END;
CREATE MACRO bq_left(s, n) AS CASE WHEN n < 0 THEN CAST(error('negative length in LEFT') AS VARCHAR) ELSE left(s, n) END;
CREATE MACRO bq_right(s, n) AS CASE WHEN n < 0 THEN CAST(error('negative length in RIGHT') AS VARCHAR) ELSE right(s, n) END;
CREATE MACRO bq_offset(a, i) AS CASE WHEN i < 0 OR i >= len(a) THEN error('array index out of bounds; use SAFE_OFFSET for NULL instead') ELSE a[i + 1] END;
CREATE MACRO bq_safe_offset(a, i) AS CASE WHEN i < 0 THEN NULL ELSE a[i + 1] END;
-- Scalars only; malformed JSON is NULL.
CREATE MACRO bq_json_value(j, p) AS CASE WHEN json_valid(j) THEN
  CASE WHEN json_type(j, p) IN ('OBJECT', 'ARRAY') THEN NULL ELSE json_extract_string(j, p) END END;
-- Weeks that start on weekday k (0 = Sunday); 1970-01-04 is a Sunday.
CREATE MACRO bq_week(d, k) AS CAST(floor((date_diff('day', DATE '1970-01-04', d) - k) / 7.0) AS BIGINT);
CREATE MACRO bq_week_start(d, k) AS d - CAST((dayofweek(d) - k + 7) % 7 AS INTEGER);
-- Elapsed whole units, truncated towards zero.
CREATE MACRO bq_elapsed(a, b, unit) AS (epoch_us(bq_ts(a)) - epoch_us(bq_ts(b))) // unit;
CREATE MACRO bq_floor_unix(t, unit) AS CAST(CASE WHEN epoch_us(t) % unit < 0 THEN epoch_us(t) // unit - 1 ELSE epoch_us(t) // unit END AS BIGINT);
CREATE MACRO bq_regexp_extract(s, p, g) AS CASE WHEN regexp_matches(s, p) THEN regexp_extract(s, p, g) END;
CREATE MACRO bq_date_array_days(a, b, k) AS CAST(generate_series(CAST(a AS TIMESTAMP), CAST(b AS TIMESTAMP), to_days(CAST(k AS INTEGER))) AS DATE[]);
CREATE MACRO bq_date_array_months(a, b, k) AS list_filter(
  list_transform(range(0, date_diff('month', a, b) // k + 1), lambda _bq_i: CAST(a + to_months(CAST(_bq_i * k AS INTEGER)) AS DATE)), lambda _bq_d: _bq_d <= b);
