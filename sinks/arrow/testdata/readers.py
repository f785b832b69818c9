"""Reads a topic's directory as pyarrow, DuckDB and Polars do, and compares every value.

usage: readers.py parquet|arrow DIRECTORY EXPECTED
"""

import datetime
import decimal
import json
import struct
import sys

import duckdb
import polars
import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

form, directory, expected_file = sys.argv[1:]
expected = [json.loads(line) for line in open(expected_file)]
decimal.getcontext().prec = 100
EPOCH = datetime.datetime(1970, 1, 1)
problems = 0


def plain(name, value):
    """A Python value as the expected rows have it."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        kind, number = ("<f", "<I") if name == "float32" else ("<d", "<Q")
        return struct.unpack(number, struct.pack(kind, value))[0]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, decimal.Decimal):
        scale = {"decimal9": 2, "decimal18": 0, "decimal38": 30}[name]
        return int(value.scaleb(scale))
    raise TypeError(f"{name}: {type(value)}")


def compare(reader, names, rows):
    """rows is a list of tuples in the order of names."""
    global problems
    wanted = set(expected[0])
    if wanted - set(names):
        print(f"{reader}: no columns {wanted - set(names)}")
        problems += 1
        return
    if len(rows) != len(expected):
        print(f"{reader}: {len(rows)} rows instead of {len(expected)}")
        problems += 1
    at = names.index("__offset")
    for row, want in zip(sorted(rows, key=lambda r: r[at]), expected):
        for name, value in zip(names, row):
            if name in want and plain(name, value) != want[name]:
                print(f"{reader}: offset {row[at]}, {name}: {value!r} instead of {want[name]!r}")
                problems += 1
                if problems > 20:
                    sys.exit(1)


def check_types(schema):
    global problems
    for name, kind in {
        "bool": "bool", "int8": "int8", "uint64": "uint64", "decimal9": "decimal128(9, 2)", "decimal38": "decimal128(38, 30)",
        "decimal65": "string", "string": "string", "json": "string", "enum": "string", "bytes": "binary", "date": "date32[day]",
        "time": "int64", "datetime": "timestamp[us]", "timestamp": "timestamp[us, tz=UTC]", "year": "int32",
        "__timestamp": "timestamp[us, tz=UTC]", "__offset": "int64",
    }.items():
        if str(schema.field(name).type) != kind:
            print(f"pyarrow: {name} is {schema.field(name).type} instead of {kind}")
            problems += 1
        if not (schema.field(name).metadata or {}).get(b"PARQUET:field_id"):
            print(f"pyarrow: {name} has no field id")
            problems += 1


def with_pyarrow():
    data = pyarrow.dataset.dataset(directory, format="parquet" if form == "parquet" else "ipc")
    check_types(data.schema)
    table = data.to_table()
    columns = []
    for field in table.schema:
        column = table.column(field.name)
        if pyarrow.types.is_timestamp(field.type):
            column = column.cast(pyarrow.int64())
        elif pyarrow.types.is_date32(field.type):
            column = column.cast(pyarrow.int32())
        columns.append(column.to_pylist())
    compare("pyarrow", table.column_names, list(zip(*columns)))


def with_duckdb():
    connection = duckdb.connect()
    if form == "parquet":
        relation = f"read_parquet('{directory}/**/*.parquet')"
    else:
        arrow = pyarrow.dataset.dataset(directory, format="ipc").to_table()  # DuckDB itself reads no Arrow files
        connection.register("arrow", arrow)
        relation = "arrow"
    names, expressions = [], []
    for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall():
        if name == "p":  # out of the directory's name
            continue
        quoted = f'"{name}"'
        if kind.startswith("TIMESTAMP"):
            quoted = f"epoch_us({quoted})"
        elif kind == "DATE":
            quoted = f"({quoted} - DATE '1970-01-01')"
        names.append(name)
        expressions.append(quoted)
    compare("duckdb", names, connection.execute(f"SELECT {', '.join(expressions)} FROM {relation}").fetchall())


def with_polars():
    if form == "parquet":
        frame = polars.scan_parquet(directory, hive_partitioning=False).collect()
    else:
        frame = polars.scan_ipc(directory, hive_partitioning=False).collect()
    frame = frame.with_columns(
        [polars.col(n).cast(polars.Int64) for n, t in frame.schema.items() if isinstance(t, polars.Datetime)]
        + [polars.col(n).cast(polars.Int32) for n, t in frame.schema.items() if t == polars.Date])
    compare("polars", frame.columns, frame.rows())


def check_statistics():
    """Minimum, maximum and null count of every column chunk are those of its values."""
    global problems
    seen = 0
    for file in pyarrow.dataset.dataset(directory, format="parquet").files:
        reader = pyarrow.parquet.ParquetFile(file)
        for group in range(reader.num_row_groups):
            table = reader.read_row_group(group)
            for i, name in enumerate(table.column_names):
                statistics = reader.metadata.row_group(group).column(i).statistics
                column = table.column(i)
                if statistics is None:
                    continue
                if statistics.has_null_count and statistics.null_count != column.null_count:
                    print(f"{name}: {statistics.null_count} nulls instead of {column.null_count}")
                    problems += 1
                if not statistics.has_min_max:
                    continue
                seen += 1
                values = [v for v in column.to_pylist() if v is not None]
                low, high = statistics.min, statistics.max
                if isinstance(values[0], str):
                    order = lambda v: v.encode() if isinstance(v, str) else v
                    values, low, high = [order(v) for v in values], order(low), order(high)
                if low != min(values) or high != max(values):
                    print(f"{name}: from {low!r} to {high!r} instead of {min(values)!r} to {max(values)!r}")
                    problems += 1
    if seen == 0:
        print("no statistics at all")
        problems += 1


with_pyarrow()
with_duckdb()
with_polars()
if form == "parquet":
    check_statistics()
sys.exit(1 if problems else 0)
