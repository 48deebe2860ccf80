"""Batches as Arrow tables and DataFrames."""

import io
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from ._types import Batch, Changes, Column

if TYPE_CHECKING:
    import pandas
    import pyarrow


def table(batch: Batch, columns: list[Column]) -> "pyarrow.Table":
    """The rows of the keys that were found, in the order asked, with the declared columns and types.

    A service that ranks gives several rows per key.
    """
    pyarrow = _pyarrow()
    key, *others = columns
    names = [column.name for column in others]
    keys: list[Any] = []
    values: list[list[Any]] = [[] for _ in names]
    for result in batch.results:
        for row in result.rows:
            keys.append(result.key)
            for name, found in zip(names, values, strict=True):
                found.append(row.get(name))
    if key.type == "INT":
        # A key may be asked for by its digits.
        keys = [int(one) for one in keys]
    arrays = [pyarrow.array(keys, _arrow_type(key.type))]
    for column, found in zip(others, values, strict=True):
        arrays.append(pyarrow.array([_value(one, column.type) for one in found], _arrow_type(column.type)))
    described = {
        "generation": str(batch.generation),
        "release": batch.release,
        "version": batch.version,
        "predicted_at": batch.predicted_at.isoformat(),
    }
    schema = pyarrow.schema(
        [pyarrow.field(column.name, array.type) for column, array in zip(columns, arrays, strict=True)],
        metadata=described,
    )
    return pyarrow.Table.from_arrays(arrays, schema=schema)


def frame(batch: Batch, columns: list[Column]) -> "pandas.DataFrame":
    """As ``table``, with the key as index. Integers, texts and truth values that may be null stay what they are."""
    pandas = _pandas()
    types = {
        "int64": pandas.Int64Dtype(),
        "bool": pandas.BooleanDtype(),
        "string": pandas.StringDtype(),
    }
    made = table(batch, columns).to_pandas(types_mapper=lambda one: types.get(str(one)))
    made.attrs["generation"] = batch.generation
    made.attrs["release"] = batch.release
    return made.set_index(columns[0].name)


def batches(parts: Iterator[bytes]) -> "Iterator[pyarrow.RecordBatch]":
    """The batches of an Arrow stream that arrives in parts of any size; no more of it is kept than one batch."""
    pyarrow = _pyarrow()
    with pyarrow.ipc.open_stream(io.BufferedReader(_Parts(parts))) as reader:
        yield from reader


def gathered(parts: Iterator[bytes]) -> "pyarrow.Table":
    """The same as one table; it has its columns also where there is no row."""
    return _pyarrow().ipc.open_stream(io.BufferedReader(_Parts(parts))).read_all()


def changes(headers: Mapping[str, str], parts: Iterator[bytes]) -> Changes:
    """What changed, with the materialisations that the head names."""
    return Changes(int(headers["cameo-since"]), int(headers["cameo-materialisation"]), gathered(parts))


class _Parts(io.RawIOBase):
    """Parts as they arrive, read like a file."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = part
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _arrow_type(declared: str) -> Any:
    pyarrow = _pyarrow()
    return {
        "INT": pyarrow.int64(),
        "FLOAT64": pyarrow.float64(),
        "STRING": pyarrow.string(),
        "BOOL": pyarrow.bool_(),
        "DATE": pyarrow.date32(),
        "TIMESTAMP": pyarrow.timestamp("us", tz="UTC"),
    }.get(declared, pyarrow.string())


def _value(value: Any, declared: str) -> Any:
    if value is None:
        return None
    if declared == "DATE":
        return date.fromisoformat(value)
    if declared == "TIMESTAMP":
        return datetime.fromisoformat(value)
    if declared == "JSON":
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError("Arrow tables need pyarrow: pip install 'cameo-client[arrow]'") from error
    return pyarrow


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError("DataFrames need pandas: pip install 'cameo-client[pandas]'") from error
    return pandas
