"""Synthetic retail data for the peer measurement: customers and 20 orders each, as Parquet.

usage: gen_retail.py OUT_DIR CUSTOMERS
"""

import os
import sys

import duckdb

folder, customers = sys.argv[1], int(sys.argv[2])
os.makedirs(folder, exist_ok=True)
lake = duckdb.connect()
lake.execute("SELECT setseed(0.42)")
lake.execute(f"""
COPY (
  SELECT
    i::BIGINT AS customer_id,
    (18 + (random() * 60)::INT)::INT AS age,
    ['FR', 'DE', 'ES', 'JP', 'US'][1 + (random() * 4.999)::INT] AS country,
    ['search', 'social', 'email', 'store'][1 + (random() * 3.999)::INT] AS channel,
    TIMESTAMP '2023-01-01' + to_days((random() * 700)::INT) AS signed_up_at
  FROM range({customers}) AS numbers(i)
) TO '{folder}/customers.parquet' (FORMAT parquet, COMPRESSION zstd)
""")
lake.execute(f"""
COPY (
  SELECT
    (random() * ({customers} - 1))::BIGINT AS customer_id,
    i::BIGINT AS order_id,
    TIMESTAMP '2026-10-01' - to_seconds((-ln(1 - random()) * 9e6)::BIGINT) AS ordered_at,
    round((-ln(1 - random()) * 35)::NUMERIC, 2)::DOUBLE AS amount,
    (1 + random() * 5)::INT AS items
  FROM range({customers} * 20) AS numbers(i)
) TO '{folder}/orders.parquet' (FORMAT parquet, COMPRESSION zstd)
""")
