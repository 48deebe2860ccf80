"""Computes what each example of the SQL library must give, in plain Python from the CSV tables.

    expected.py            writes expected/*.csv
    expected.py --check    compares instead

It knows the library's words, not its SQL. Column types stand in the header as `name:TYPE`.
"""

import csv
import datetime
import pathlib
import sys
from collections import defaultdict

HERE = pathlib.Path(__file__).parent
RUN_DATE = datetime.date(2026, 3, 31)


def table(name, **kinds):
    with (HERE / "tables" / f"{name}.csv").open(newline="") as lines:
        return [
            {column: kinds.get(column, str)(value) if value else None for column, value in row.items()}
            for row in csv.DictReader(lines)
        ]


ORDERS = table("orders", customer_id=int, ordered_on=datetime.date.fromisoformat, amount_usd=float)
VISITS = table("visits", user_id=int, seen_at=datetime.datetime.fromisoformat)
CUSTOMERS = table("customers", customer_id=int, spend_usd=float, orders=int)


def by(rows, column):
    groups = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return groups


def per_customer(measure):
    return [[key, *measure(rows)] for key, rows in by(ORDERS, "customer_id").items()]


def recency(rows, as_of=RUN_DATE):
    days = [(as_of - row["ordered_on"]).days for row in rows if row["ordered_on"] <= as_of]
    return min(days, default=None)


def tenure(rows, as_of=RUN_DATE):
    days = [(as_of - row["ordered_on"]).days for row in rows if row["ordered_on"] <= as_of]
    return max(days, default=None)


def frequency(rows):
    return sum(row["ordered_on"] <= RUN_DATE for row in rows)


def spend(rows):
    return sum(row["amount_usd"] or 0 for row in rows)


def monetary(rows):
    return spend([row for row in rows if row["ordered_on"] <= RUN_DATE])


def within(rows, days):
    first = RUN_DATE - datetime.timedelta(days - 1)
    return [row for row in rows if first <= row["ordered_on"] <= RUN_DATE]


def windows(rows):
    return [figure for days in (30, 90, 365) for figure in (len(within(rows, days)), spend(within(rows, days)))]


def sessions(gap_minutes):
    """Each visit with the number of its session."""
    numbered = []
    for visits in by(VISITS, "user_id").values():
        visits = sorted(visits, key=lambda visit: visit["seen_at"])
        number, before = 0, None
        for visit in visits:
            pause = None if before is None else visit["seen_at"] - before
            if pause is None or pause > datetime.timedelta(minutes=gap_minutes):
                number += 1
            before = visit["seen_at"]
            numbered.append(visit | {"session": number})
    return numbered


def session_figures():
    rows = []
    for user, visits in by(sessions(10), "user_id").items():
        lengths, events = [], []
        for session in by(visits, "session").values():
            times = [visit["seen_at"] for visit in session]
            lengths.append((max(times) - min(times)).total_seconds())
            events.append(len(session))
        rows.append([user, len(lengths), sum(lengths) / len(lengths), max(events)])
    return rows


def per_row(measure):
    return [[row["customer_id"], *measure(row)] for row in CUSTOMERS]


def ratio(row):
    if row["spend_usd"] is None or not row["orders"]:
        return [None, 0.0]
    return [row["spend_usd"] / row["orders"]] * 2


def clip(value, low, high):
    return None if value is None else min(max(value, low), high)


def percentile(values, share):
    values = sorted(value for value in values if value is not None)
    place = share * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def in_country(row):
    return [other for other in CUSTOMERS if other["country"] == row["country"]]


def figures(rows):
    return [row["spend_usd"] for row in rows]


def percentile_caps(row):
    all_of_it, country = figures(CUSTOMERS), figures(in_country(row))
    return [
        clip(row["spend_usd"], float("-inf"), percentile(all_of_it, 0.9)),
        clip(row["spend_usd"], percentile(country, 0.25), percentile(country, 0.75)),
    ]


def group(row, rows, groups):
    """Equally large groups in the order of spend, then id; the first ones take what is left over."""
    if row["spend_usd"] is None:
        return None
    known = [other for other in rows if other["spend_usd"] is not None]
    ordered = sorted(known, key=lambda other: (other["spend_usd"], other["customer_id"]))
    size, left = divmod(len(ordered), groups)
    sizes = [size + (number < left) for number in range(groups)]
    place, number = ordered.index(row), 0
    while place >= sizes[number]:
        place -= sizes[number]
        number += 1
    return number + 1


def tier(row, rows, cuts, otherwise):
    if row["spend_usd"] is None:
        return None
    known = [value for value in figures(rows) if value is not None]
    below = sum(value < row["spend_usd"] for value in known)
    share = below / (len(known) - 1) if len(known) > 1 else 0.0
    return next((name for name, cut in cuts if share >= cut), otherwise)


def tiers(row):
    return [
        tier(row, CUSTOMERS, [("High", 0.8), ("Medium", 0.5)], "Low"),
        tier(row, in_country(row), [("top", 0.5)], "rest"),
    ]


ID = "customer_id:INT64"
EXAMPLES = {
    "recency_days": ([ID, "recency_days:INT64"], per_customer(lambda rows: [recency(rows)])),
    "tenure_days": (
        [ID, "tenure_days:INT64"],
        per_customer(lambda rows: [tenure(rows, datetime.date(2026, 2, 28))]),
    ),
    "frequency": ([ID, "frequency:INT64"], per_customer(lambda rows: [frequency(rows)])),
    "monetary": ([ID, "monetary_usd:FLOAT64"], per_customer(lambda rows: [monetary(rows)])),
    "rfm": (
        [ID, "recency_days:INT64", "tenure_days:INT64", "frequency:INT64", "monetary:FLOAT64"],
        per_customer(lambda rows: [recency(rows), tenure(rows), frequency(rows), monetary(rows)]),
    ),
    "count_within": ([ID, "orders_30d:INT64"], per_customer(lambda rows: [len(within(rows, 30))])),
    "sum_within": ([ID, "spend_30d_usd:FLOAT64"], per_customer(lambda rows: [spend(within(rows, 30))])),
    "windows": (
        [ID, *(f"{name}_{days}d:{kind}" for days in (30, 90, 365) for name, kind in (("orders", "INT64"), ("spend", "FLOAT64")))],
        per_customer(windows),
    ),
    "sessions": (
        ["user_id:INT64", "seen_at:TIMESTAMP", "page:STRING", "session_number:INT64"],
        [[visit["user_id"], visit["seen_at"], visit["page"], visit["session"]] for visit in sessions(30)],
    ),
    "session_lengths": (
        ["user_id:INT64", "sessions:INT64", "session_mean_seconds:FLOAT64", "longest:INT64"],
        session_figures(),
    ),
    "safe_divide": ([ID, "basket_usd:FLOAT64", "basket_or_zero_usd:FLOAT64"], per_row(ratio)),
    "capped": (
        [ID, "spend_usd:FLOAT64", "orders:INT64"],
        per_row(lambda row: [clip(row["spend_usd"], 0.0, 500.0), clip(row["orders"], float("-inf"), 10)]),
    ),
    "capped_at_percentile": ([ID, "spend_usd:FLOAT64", "spend_in_country_usd:FLOAT64"], per_row(percentile_caps)),
    "groups": (
        [ID, "quartile:INT64", "half_of_country:INT64"],
        per_row(lambda row: [group(row, CUSTOMERS, 4), group(row, in_country(row), 2)]),
    ),
    "decile": ([ID, "decile:INT64"], per_row(lambda row: [group(row, CUSTOMERS, 10)])),
    "tier": ([ID, "tier:STRING", "tier_of_country:STRING"], per_row(tiers)),
}


def cell(value):
    return "" if value is None else str(value)


def main():
    folder = HERE / "expected"
    folder.mkdir(exist_ok=True)
    stale = []
    for name, (header, rows) in EXAMPLES.items():
        lines = [",".join(header), *(",".join(map(cell, row)) for row in rows)]
        file, text = folder / f"{name}.csv", "\n".join(lines) + "\n"
        if "--check" in sys.argv:
            stale += [] if file.exists() and file.read_text() == text else [name]
        else:
            file.write_text(text)
    sys.exit(f"stale: {', '.join(stale)}" if stale else 0)


main()
