"""Runs GoogleSQL in local-bigquery, an implementation of BigQuery that owes nothing to Cameo.

    oracle.py TABLES < queries.json > results.json

TABLES is a folder of CSV files; each becomes the table `shop.<name>`. The input maps a name to a query,
the output maps it to its columns and rows, or to an error. Values are text.
"""

import csv
import datetime
import json
import pathlib
import re
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import duckdb
import duckdb_extension_ducklake
import uvicorn
from local_bigquery.app import app
from local_bigquery.engine import database
from local_bigquery.settings import settings

PROJECT = settings.default_project_id
RUN_DATE = "2026-03-31"
# The first type whose pattern every value of a column fits.
TYPES = [
    ("INT64", r"-?\d+"),
    ("FLOAT64", r"-?\d+\.\d+"),
    ("DATE", r"\d{4}-\d\d-\d\d"),
    ("TIMESTAMP", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
    ("STRING", r".*"),
]


def connect_offline():
    """DuckDB without the network: one extension comes from a wheel, the other, which only geography needs,
    is left out, and the zone is set once ICU is there."""
    database.FUNCTIONS = [path for path in database.FUNCTIONS if path.stem != "geography"]
    folder = pathlib.Path(duckdb_extension_ducklake.__file__).parent
    extension = next(folder.rglob("ducklake.duckdb_extension"))
    connect = duckdb.connect

    def offline(*arguments, config=None, **named):
        config = dict(config or {})
        zone = config.pop("TimeZone", None)
        connection = connect(*arguments, config=config, **named)
        connection.execute(f"LOAD '{extension}'")
        if zone:
            connection.execute(f"SET GLOBAL TimeZone = '{zone}'")
        return connection

    duckdb.connect = offline


def start():
    settings.data_dir = pathlib.Path(tempfile.mkdtemp())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    return server.servers[0].sockets[0].getsockname()[1]


def request(port, path, body):
    url = f"http://127.0.0.1:{port}/bigquery/v2/projects/{PROJECT}/{path}"
    headers = {"Content-Type": "application/json"}
    call = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(call) as answer:
        return json.load(answer)


def query(port, sql):
    parameter = {"name": "run_date", "parameterType": {"type": "DATE"}, "parameterValue": {"value": RUN_DATE}}
    body = {
        "query": sql,
        "useLegacySql": False,
        "parameterMode": "NAMED",
        "queryParameters": [parameter] if "@run_date" in sql else [],
        "maxResults": 10_000,
        "timeoutMs": 60_000,
    }
    answer = request(port, "queries", body)
    assert answer.get("jobComplete"), answer
    fields = answer["schema"]["fields"]
    kinds = [field["type"] for field in fields]
    rows = [[readable(kind, cell["v"]) for kind, cell in zip(kinds, row["f"])] for row in answer.get("rows", [])]
    return {"columns": [[field["name"], field["type"]] for field in fields], "rows": rows}


def readable(kind, value):
    """An instant, which the API counts in seconds since 1970, as the CSV files write it."""
    if kind != "TIMESTAMP" or value is None:
        return value
    instant = datetime.datetime.fromtimestamp(float(value), datetime.UTC)
    return instant.strftime("%Y-%m-%d %H:%M:%S")


def literal(kind, value):
    if value == "":
        return f"CAST(NULL AS {kind})"
    if kind in ("INT64", "FLOAT64"):
        return f"CAST({value} AS {kind})"
    quoted = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return {"STRING": quoted, "DATE": f"DATE {quoted}", "TIMESTAMP": f"TIMESTAMP {quoted}"}[kind]


def load(port, file):
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    kinds = []
    for column in zip(*rows):
        filled = [value for value in column if value]
        kinds.append(next(kind for kind, fits in TYPES if all(re.fullmatch(fits, value) for value in filled)))
    selects = []
    for row in rows:
        cells = [f"{literal(kind, value)} AS {name}" for kind, value, name in zip(kinds, row, header)]
        selects.append("SELECT " + ", ".join(cells))
    request(port, "queries", {"query": f"CREATE TABLE shop.{file.stem} AS " + " UNION ALL ".join(selects), "useLegacySql": False})


def main():
    connect_offline()
    port = start()
    request(port, "datasets", {"datasetReference": {"projectId": PROJECT, "datasetId": "shop"}})
    for file in sorted(pathlib.Path(sys.argv[1]).glob("*.csv")):
        load(port, file)
    results = {}
    for name, sql in json.load(sys.stdin).items():
        try:
            results[name] = query(port, sql)
        except urllib.error.HTTPError as error:
            results[name] = {"error": error.read().decode()}
    json.dump(results, sys.stdout)


main()
