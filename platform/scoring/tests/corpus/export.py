"""Exports the corpus: models of many kinds to ONNX, with the outputs of ONNX Runtime.

    python export.py FOLDER [--seed N] [--only PART_OF_A_NAME]

Writes `manifest.json`, `models/`, `tables/` and `references/` to FOLDER. Seed 0 is what the test
and its page are made from; any other seed draws other data, widths, depths, counts and labels.
What an exporter or ONNX Runtime refuses is recorded, never left out.
"""

import os

# One thread each: the cases run in parallel, and sums keep their order.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import concurrent.futures
import json
import logging
import pathlib
import sys
import time
import warnings

import boosted
import compatible
import converters
import linear
import mixed
import networks
import other
import pipelines
import preparation
import towers
import trees
from cases import Cases
from data import SCORE_ROWS, Data
from record import described, operators, reference

SECTIONS = [linear, trees, boosted, other, preparation, pipelines, mixed, networks, towers]
PROCESSES = 2
MESSAGE_LENGTH_MAX = 300

corpus = None


def all_cases(seed):
    cases = Cases(Data(seed))
    for section in SECTIONS:
        section.register(cases)
    return cases


def prepare(seed):
    """Builds the data and the table of cases once per process."""
    global corpus
    warnings.filterwarnings("ignore")
    compatible.with_recent_onnx()
    logging.disable(logging.WARNING)
    corpus = all_cases(seed)


def run(index, folder):
    """Trains, exports and records one case: its line of the manifest."""
    case, data = corpus.cases[index], corpus.data
    started = time.perf_counter()
    line = {
        "name": case.name, "section": case.section, "what": case.what, "refused": case.refused,
        "expected_failure": case.fails, "estimators": sorted(case.estimators),
        "failure": None, "operators": [], "table": None, "features": [], "batches": [],
    }
    try:
        export = case.make()
        line["operators"] = operators(export.model)
        line["table"] = export.table
        line["features"] = list(dict.fromkeys(name for names in export.inputs.values() for name in names))
        (folder / "models" / f"{case.name}.onnx").write_bytes(export.model.SerializeToString())
        if case.refused is None:
            line["batches"], content = reference(export, data.tables)
            (folder / "references" / f"{case.name}.bin").write_bytes(content)
    except Exception as error:  # whatever an exporter raises is this case's result
        line["failure"] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:MESSAGE_LENGTH_MAX]
    line["seconds"] = round(time.perf_counter() - started, 2)
    return line


def write_tables(data, folder):
    lines = {}
    for name, table in data.tables.items():
        described_columns = [described(column, values) for column, values in table.items()]
        lines[name] = [line for line, _ in described_columns]
        (folder / "tables" / f"{name}.bin").write_bytes(b"".join(content for _, content in described_columns))
    return lines


def surprising(line):
    """Whether a case failed to export in another way than its row of the table says."""
    failure, expected = line["failure"], line["expected_failure"]
    return (failure is None) != (expected is None) or (failure is not None and expected not in failure)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--only", default="")
    given = arguments.parse_args()
    for part in ("models", "tables", "references"):
        (given.folder / part).mkdir(parents=True, exist_ok=True)
    prepare(given.seed)
    chosen = [index for index, case in enumerate(corpus.cases) if given.only in case.name]
    with concurrent.futures.ProcessPoolExecutor(PROCESSES, initializer=prepare, initargs=(given.seed,)) as pool:
        lines = list(pool.map(run, chosen, [given.folder] * len(chosen)))
    manifest = {
        "seed": given.seed,
        "rows": SCORE_ROWS,
        "tables": write_tables(corpus.data, given.folder),
        "cases": lines,
        "without_case": converters.WITHOUT_CASE,
        "uncovered": [] if given.only else converters.uncovered(lines),
    }
    for line in lines:
        if surprising(line):
            print(f"{line['name']}: {line['failure'] or 'did not fail as expected'}", file=sys.stderr)
    (given.folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    failed = sum(line["failure"] is not None for line in lines)
    print(f"{len(lines)} cases, {len(lines) - failed} exported, {failed} not", file=sys.stderr)


if __name__ == "__main__":
    main()
