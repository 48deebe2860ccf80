"""The strongest pipeline that a team would write today without a platform, as the peer to beat:
DuckDB features -> ONNX Runtime -> ADBC COPY into a fresh table, index, rename -> Parquet mirror.

usage: pipeline.py DATA_DIR MODEL.onnx POSTGRES_URI MIRROR.parquet
prints one line: rows, seconds by step, CPU seconds of this process, peak memory
"""

import pathlib
import resource
import sys
import time

import adbc_driver_postgresql.dbapi as pg
import duckdb
import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 65_536

data, model, uri, mirror = sys.argv[1:5]
sql = pathlib.Path(__file__).with_name("features.sql").read_text()

start = time.time()
lake = duckdb.connect()
lake.execute(f"create view orders as select * from '{data}/orders.parquet'")
table = lake.sql(sql).to_arrow_table()
featured = time.time()

keys = table.column(0)
matrix = np.column_stack(
    [np.nan_to_num(table.column(i).to_numpy().astype(np.float32)) for i in range(1, table.num_columns)]
)
session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
given, wanted = session.get_inputs()[0].name, session.get_outputs()[-1].name
scores = np.concatenate(
    [
        np.asarray(session.run([wanted], {given: matrix[i : i + BATCH_ROWS]})[0]).reshape(-1)
        for i in range(0, len(matrix), BATCH_ROWS)
    ]
).astype(np.float64)
scored = time.time()

result = pa.table({"customer_id": keys, "clv": pa.array(scores)})
with pg.connect(uri) as connection, connection.cursor() as cursor:
    cursor.execute("drop table if exists clv_next")
    cursor.adbc_ingest("clv_next", result, mode="create")
    cursor.execute("create unique index on clv_next (customer_id)")
    cursor.execute("drop table if exists clv")
    cursor.execute("alter table clv_next rename to clv")
    connection.commit()
written = time.time()

pq.write_table(result, mirror)
mirrored = time.time()

usage = resource.getrusage(resource.RUSAGE_SELF)
print(
    f"rows={len(matrix)} features_s={featured - start:.2f} score_s={scored - featured:.2f} "
    f"write_s={written - scored:.2f} mirror_s={mirrored - written:.2f} total_s={mirrored - start:.2f} "
    f"cpu_s={usage.ru_utime + usage.ru_stime:.2f} peak_mb={usage.ru_maxrss / 1024:.0f}"
)
