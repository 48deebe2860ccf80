"""Peak memory of scoring a stream of rows: ONNX Runtime and pyarrow in Python, beside Cameo's scorer on the same rows.

usage: scoring_memory.py MODELS_DIR MODEL ROWS... [--cameo PROGRAM]

Both read the rows of MODEL (as scoring_models.py wrote them) over and over in batches, score them on one thread and drop
the outputs. PROGRAM is the example `stream` of cameo-scoring. Prints a Markdown table.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

BATCH_ROWS = 16_384

parser = argparse.ArgumentParser()
parser.add_argument("models", type=pathlib.Path)
parser.add_argument("model")
parser.add_argument("rows", type=int, nargs="+")
parser.add_argument("--cameo", help="the example `stream`, for instance target/release/examples/stream")
parser.add_argument("--alone", action="store_true", help="measure this process; used by the script itself")
wanted = parser.parse_args()
path, rows_path = wanted.models / f"{wanted.model}.onnx", wanted.models / f"{wanted.model}.f32"
listed = json.loads((wanted.models / "models.json").read_text())
width = next(model["width"] for model in listed if model["name"] == wanted.model)


def stream():
    import numpy as np
    import onnxruntime
    import pyarrow as pa

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given, last = session.get_inputs()[0].name, session.get_outputs()[-1].name
    with open(rows_path, "rb") as file:
        for count in wanted.rows:
            done, total = 0, 0.0
            while done < count:
                content = file.read(min(BATCH_ROWS, count - done) * width * 4)
                if not content:
                    file.seek(0)
                    continue
                rows = np.frombuffer(content, "<f4").reshape(-1, width)
                scores = session.run([last], {given: rows})[0].reshape(len(rows), -1)[:, -1]
                batch = pa.record_batch([pa.array(scores)], names=["score"])
                total += float(np.asarray(batch.column(0)).sum(dtype=np.float64))
                done += len(rows)
            peak = re.search(r"VmHWM:\s*(\d+)", pathlib.Path("/proc/self/status").read_text())[1]
            print(f"rows={done} peak_kb={peak} mean={total / done:.6f}", flush=True)


def figures(command):
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [dict(part.split("=") for part in line.split()) for line in out.splitlines()]


if wanted.alone:
    stream()
else:
    counts = [str(count) for count in wanted.rows]
    python = figures([sys.executable, __file__, str(wanted.models), wanted.model, *counts, "--alone"])
    cameo = figures([wanted.cameo, str(path), str(rows_path), str(width), *counts]) if wanted.cameo else []
    print("| rows | Python with ONNX Runtime and pyarrow, MB | Cameo's scorer, MB | share |\n|---|---|---|---|")
    for index, theirs in enumerate(python):
        peak = int(theirs["peak_kb"]) / 1024
        if cameo:
            ours = cameo[index]
            assert abs(float(ours["mean"]) - float(theirs["mean"])) < 1e-5, (ours, theirs)
            own = int(ours["peak_kb"]) / 1024
            print(f"| {int(theirs['rows']):,} | {peak:.0f} | {own:.0f} | {own / peak:.2f} |")
        else:
            print(f"| {int(theirs['rows']):,} | {peak:.0f} | | |")
