"""Reference outputs of a model from ONNX Runtime, in files that the test reads without a library.

A file of columns is the little-endian values of its columns one after the other; `columns` in the
manifest says the name and the type of each. Strings are 32-bit positions in the column's `words`.
"""

import numpy as np
import onnx
import onnxruntime

# What it refuses is recorded; its log would repeat it.
onnxruntime.set_default_logger_severity(4)

BATCHES = [1, 7, 4_096]
KINDS = {"float16": "float32", "float32": "float32", "float64": "float64", "bool": "bool", "object": "string"}


def described(name, values):
    """One column as its line of the manifest and its bytes."""
    values = np.asarray(values)
    if values.dtype.kind in "OUS":
        words, codes = np.unique(values.astype(str), return_inverse=True)
        return {"name": name, "type": "string", "words": words.tolist()}, codes.astype("<i4").tobytes()
    if values.dtype == bool:
        return {"name": name, "type": "bool"}, values.astype("u1").tobytes()
    if values.dtype.kind in "iu":
        return {"name": name, "type": "int64"}, values.astype("<i8").tobytes()
    if values.dtype == np.float64:
        return {"name": name, "type": "float64"}, values.astype("<f8").tobytes()
    return {"name": name, "type": "float32"}, values.astype("<f4").tobytes()


def feeds(session, export, table, rows):
    """Columns as the inputs of a session, by the conversions that the documentation of the scorer lists."""
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64,
             "tensor(int32)": np.int32, "tensor(bool)": np.bool_, "tensor(string)": object}
    found = {}
    for port in session.get_inputs():
        columns = [table[name][:rows].astype(kinds[port.type]) for name in export.inputs[port.name]]
        found[port.name] = columns[0] if len(port.shape) == 1 else np.stack(columns, 1)
    return found


def flattened(name, value, rows):
    """An output as named columns, by the rules that the documentation of the scorer gives."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [(f"{name}_{key}", np.array([row[key] for row in value], np.float32)) for key in value[0]]
    if isinstance(value, list):
        return [column for index, item in enumerate(value) for column in flattened(f"{name}_{index}", item, rows)]
    value = np.asarray(value)
    if value.shape == (1, rows):
        value = value[0]
    if value.shape[:1] != (rows,):
        raise ValueError(f"output {name} has shape {value.shape} for {rows} rows")
    value = value.reshape(rows, -1)
    if value.shape[1] == 1:
        return [(name, value[:, 0])]
    return [(f"{name}_{index}", column) for index, column in enumerate(value.T)]


def with_open_batch(model):
    """The model for any number of rows: an export without dynamic axes is fixed to the one row that it was traced with."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    for value in (*opened.graph.input, *opened.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value == 1:
            dims[0].dim_param = "rows"
    return opened


def reference(export, tables):
    """Outputs of every batch size: lines of the manifest, and the bytes of all columns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(with_open_batch(export.model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    table = tables[export.table]
    batches, data = [], bytearray()
    for rows in BATCHES:
        values = session.run(None, feeds(session, export, table, rows))
        lines = []
        for name, value in zip(names, values):
            for column, content in flattened(name, value, rows):
                line, content = described(column, content)
                lines.append(line)
                data += content
        batches.append({"rows": rows, "columns": lines})
    return batches, bytes(data)


def operators(model):
    return sorted({node.op_type for node in model.graph.node})

