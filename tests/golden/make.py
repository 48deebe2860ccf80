"""Writes the golden files: what the demo services must predict, found without Cameo.

usage: python make.py            writes clv.csv.gz, clv_bgnbd.csv.gz and gender.csv.gz beside this file
       python make.py --check    compares instead and fails on a difference

Independent on purpose: the features are numpy over plain column reads and not a translation of the tenants'
features.sql, the scorer is ONNX Runtime, the post-processing is numpy; clv_bgnbd is not even scored, but
computed from its parameters by the formulas of the papers. Only the model files and the data are shared
with Cameo.
"""

import gzip
import pathlib
import sys

import duckdb
import numpy as np
import onnx
import onnxruntime
from scipy.special import hyp2f1

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
CUSTOMERS_GENDER = 5_000
AS_OF = np.datetime64("1997-09-30")
RELATIVE_TOLERANCE = 1e-5


def columns(lake: duckdb.DuckDBPyConnection, sql: str) -> dict[str, np.ndarray]:
    return lake.sql(sql).fetchnumpy()


def floats(values: np.ndarray) -> np.ndarray:
    """float64 with NaN where the database has NULL."""
    return np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)


def session(tenant: str, service: str) -> onnxruntime.InferenceSession:
    model = ROOT / "tenants" / tenant / service / "model.onnx"
    return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])


def clv() -> list[str]:
    lake = duckdb.connect()
    orders = ROOT / "deploy/demo/lake/crm/cdnow/orders.parquet"
    table = columns(lake, f"FROM read_parquet('{orders}') ORDER BY customer_id, ordered_at")
    ids = np.asarray(table["customer_id"])
    days_ago = (AS_OF - np.asarray(table["ordered_at"]).astype("datetime64[D]")).astype(int)
    known = days_ago >= 0
    ids, days_ago = ids[known], days_ago[known]
    amount, cds = floats(table["amount_usd"])[known], floats(table["cds"])[known]

    customers, start = np.unique(ids, return_index=True)
    group = np.searchsorted(customers, ids)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, values, minlength=len(customers))

    orders_count = total(np.ones_like(amount))
    spend = total(amount)
    mean = spend / orders_count
    # Two-pass, as the textbook has it; undefined for one order.
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(total((amount - mean[group]) ** 2) / (orders_count - 1))
        recency, tenure = np.minimum.reduceat(days_ago, start), np.maximum.reduceat(days_ago, start)
        gap = (tenure - recency) / (orders_count - 1)
    single = orders_count == 1
    deviation[single], gap[single] = np.nan, np.nan
    features = [recency, tenure, orders_count, spend, mean, np.maximum.reduceat(amount, start), deviation, gap, total(cds)]
    features += [total((days_ago < days).astype(float)) for days in (30, 90, 270)]
    features += [total(np.where(days_ago < days, amount, 0.0)) for days in (30, 90, 270)]

    matrix = np.column_stack(features).astype(np.float32)
    raw = session("crm", "clv").run(["clv"], {"features": matrix})[0].reshape(-1).astype(np.float64)
    value = np.maximum(raw, 0.0)

    count = len(value)
    share_below = np.searchsorted(np.sort(value), value, side="left") / (count - 1)
    tier = np.where(share_below >= 0.8, "High", np.where(share_below >= 0.5, "Medium", "Low"))
    # NTILE: the first (count mod 10) groups hold one more.
    order = np.lexsort((customers, value))
    sizes = np.full(10, count // 10) + (np.arange(10) < count % 10)
    decile = np.empty(count, int)
    decile[order] = np.repeat(np.arange(1, 11), sizes)
    borders = [*np.cumsum(sizes)[:-1], int(np.ceil(0.5 * (count - 1))), int(np.ceil(0.8 * (count - 1)))]
    report_margins(np.sort(value), np.array(borders))

    lines = ["customer_id,clv_39w,tier,decile"]
    return lines + [f"{c},{v:.17g},{t},{d}" for c, v, t, d in zip(customers, value, tier, decile)]


def report_margins(ranked: np.ndarray, borders: np.ndarray) -> None:
    """How far the value at each group border is from the next other value on either side.

    A scorer that sums the trees in another order is off by some 1e-7 of the value; as long as the margins are
    well above that, it may not change anyone's tier or decile.
    """
    distinct = np.unique(ranked)
    for border in borders:
        for value in {ranked[border - 1], ranked[border]}:
            place = np.searchsorted(distinct, value)
            near = distinct[max(place - 1, 0) : place + 2]
            margin = np.abs(near[near != value] - value).min() / value
            print(f"border after {border} customers: {value:.6f} USD, next value {margin:.1e} of it away")


def clv_bgnbd() -> list[str]:
    lake = duckdb.connect()
    orders = ROOT / "deploy/demo/lake/crm/cdnow/orders.parquet"
    table = columns(lake, f"FROM read_parquet('{orders}') ORDER BY customer_id, ordered_at")
    day = np.asarray(table["ordered_at"]).astype("datetime64[D]")
    known = day <= AS_OF
    ids, day, amount = np.asarray(table["customer_id"])[known], day[known], floats(table["amount_usd"])[known]
    # Rows of one customer and day become one purchase.
    purchase = np.flatnonzero((np.diff(ids, prepend=-1) != 0) | (np.diff(day.astype(int), prepend=-1) != 0))
    spend, ids, day = np.add.reduceat(amount, purchase), ids[purchase], day[purchase]
    customers, start, count = np.unique(ids, return_index=True, return_counts=True)
    x = count - 1.0
    first, last = day[start], day[start + count - 1]
    t_x, T = ((last - first).astype(float) / 7, (AS_OF - first).astype(float) / 7)
    repeat_spend = np.add.reduceat(spend, start) - spend[start]

    model = onnx.load(ROOT / "tenants/crm/clv_bgnbd/model.onnx")
    fact = {entry.key: entry.value for entry in model.metadata_props}
    r, alpha, a, b = (float(fact[f"bgnbd_{name}"]) for name in ("r", "alpha", "a", "b"))
    p, q, gamma = (float(fact[f"gamma_gamma_{name}"]) for name in ("p", "q", "gamma"))
    t = float(fact["horizon_weeks"])
    left = np.where(x > 0, a / (b + x - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x), 0.0)
    series = hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + T + t))
    purchases = (a + b + x - 1) / (a - 1) * (1 - ((alpha + T) / (alpha + T + t)) ** (r + x) * series) / (1 + left)
    value = p * (gamma + repeat_spend) / (p * x + q - 1)
    rows = zip(customers, purchases * value, 1 / (1 + left), purchases, value)
    lines = ["customer_id,clv_usd,probability_alive,purchases,order_value_usd"]
    return lines + [f"{c}," + ",".join(f"{v:.17g}" for v in values) for c, *values in rows]


def gender() -> list[str]:
    script = (ROOT / "deploy/demo/customers.sql").read_text().replace("{customers}", str(CUSTOMERS_GENDER))
    lake = duckdb.connect()
    lake.execute(script[: script.index("COPY (")])
    table = columns(lake, "SELECT * EXCLUDE (is_male) FROM customers ORDER BY user_id")
    table["coupon_used"] = np.asarray(table["has_used_coupon"]).astype(np.int64)

    model = session("marketing", "gender")
    feed = {port.name: floats(table[port.name]).astype(np.float32)[:, None] for port in model.get_inputs()}
    male, female = (v.reshape(-1).astype(np.float64) for v in model.run(["male_percentile", "female_percentile"], feed))
    lines = ["user_id,male_percentile,female_percentile"]
    return lines + [f"{u},{m:.17g},{f:.17g}" for u, m, f in zip(table["user_id"], male, female)]


def same(expected: str, found: str) -> bool:
    if expected == found:
        return True
    try:
        a, b = float(expected), float(found)
    except ValueError:
        return False
    return abs(a - b) <= RELATIVE_TOLERANCE * max(1.0, abs(a))


def main() -> None:
    for name, lines in [("clv", clv()), ("clv_bgnbd", clv_bgnbd()), ("gender", gender())]:
        path = HERE / f"{name}.csv.gz"
        if "--check" in sys.argv:
            kept = gzip.decompress(path.read_bytes()).decode().splitlines()
            assert len(kept) == len(lines), f"{path.name}: {len(kept)} lines kept, {len(lines)} made"
            wrong = [(k, m) for k, m in zip(kept, lines) if not all(map(same, k.split(","), m.split(",")))]
            assert not wrong, f"{path.name}: {len(wrong)} lines differ, first kept {wrong[0][0]}, made {wrong[0][1]}"
            print(f"{path.name}: {len(lines) - 1} rows agree")
        else:
            path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))
            print(f"{path.name}: {len(lines) - 1} rows, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
