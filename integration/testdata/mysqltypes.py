"""Reads a topic's directory as pyarrow, DuckDB and Polars do, and compares every value with what the server says of it.

usage: mysqltypes.py parquet|arrow DIRECTORY EXPECTED

EXPECTED has the form of each column and the rows of values. A row of the files has the values of the row that its id names,
or after a change those of the next one.
"""

import datetime
import decimal
import json
import re
import struct
import sys

import duckdb
import polars
import pyarrow
import pyarrow.dataset

form, directory, expected_file = sys.argv[1:]
with open(expected_file) as f:
    expected = json.load(f)
forms, rows_of_values, changed = expected["forms"], expected["values"], expected["changed"]
decimal.getcontext().prec = 100
EPOCH = datetime.datetime(1970, 1, 1)
problems = 0


def problem(text):
    global problems
    problems += 1
    print(text[:500])
    if problems > 30:
        sys.exit(1)


def micros(fraction):
    return int((fraction or "").ljust(6, "0"))


def moment(text):
    """Microseconds since 1970; None for what is in no calendar."""
    date, _, clock = text.partition(" ")
    try:
        at = datetime.datetime.fromisoformat(date)
    except ValueError:
        return None
    h, m, s, fraction = re.fullmatch(r"(\d+):(\d+):(\d+)(?:\.(\d+))?", clock or "00:00:00").groups()
    at += datetime.timedelta(hours=int(h), minutes=int(m), seconds=int(s))
    return (at - EPOCH) // datetime.timedelta(microseconds=1) + micros(fraction)


def duration(text):
    sign, h, m, s, fraction = re.fullmatch(r"(-?)(\d+):(\d+):(\d+)(?:\.(\d+))?", text).groups()
    value = ((int(h) * 60 + int(m)) * 60 + int(s)) * 1_000_000 + micros(fraction)
    return -value if sign else value


def day(text):
    at = moment(text)
    return None if at is None else at // 86_400_000_000


# What the server's text means.
MEANING = {
    "int": int,
    "decimal": decimal.Decimal,
    "float": lambda text: struct.pack("<d", float(text)),
    "bool": lambda text: int(text, 16) != 0,
    "bits": lambda text: int(text, 16),
    "date": day,
    "datetime": moment,
    "timestamp": moment,
    "time": duration,
    "text": lambda text: bytes.fromhex(text).decode(),
    "cast": lambda text: bytes.fromhex(text).decode(),
    "bytes": bytes.fromhex,
}

# What a reader's value is, and of which Python type it has to be.
VALUE = {
    "int": (int, lambda v: v),
    "decimal": ((decimal.Decimal, str), decimal.Decimal),  # text above 38 digits
    "float": (float, lambda v: struct.pack("<d", v)),
    "bool": (bool, lambda v: v),
    "bits": (bytes, lambda v: int.from_bytes(v, "little")),
    "date": (int, lambda v: v),
    "datetime": (int, lambda v: v),
    "timestamp": (int, lambda v: v),
    "time": (int, lambda v: v),
    "text": (str, lambda v: v),
    "cast": (str, lambda v: v),
    "bytes": (bytes, lambda v: v),
}

ARROW = {"date": "date32[day]", "datetime": "timestamp[us]", "timestamp": "timestamp[us, tz=UTC]", "time": "int64"}


def compare(reader, names, rows):
    """rows is a list of tuples in the order of names."""
    missing = set(forms) - set(names)
    if missing:
        problem(f"{reader}: there are no columns {missing}")
        return
    seen = {}
    for row in rows:
        values = dict(zip(names, row))
        number, op = values["id"], values["__op"]
        seen[number, op] = seen.get((number, op), 0) + 1
        place = (number - 1) % 100 + (op in "ud")
        want = rows_of_values[place % len(rows_of_values)]
        for name, kind in forms.items():
            text, value = want.get(name), values[name]
            meant = None if text is None else MEANING[kind](text)
            types, mean = VALUE[kind]
            if value is not None and not isinstance(value, types):
                problem(f"{reader}: {name} is a {type(value)}")
            elif (None if value is None else mean(value)) != meant:
                problem(f"{reader}: id {number}, operation {op}, {name}: {value!r}, and the server says {text!r}")
    count = len(rows_of_values)
    wanted = {(i + 1, "r"): 1 for i in range(count)} | {(changed // 2 + i + 1, "c"): 1 for i in range(count)}
    wanted |= {(changed + i + 1, op): 1 for i in range(count) for op in "cud"}
    if seen != wanted:
        problem(f"{reader}: the rows are {sorted(seen.items())}")


def with_pyarrow():
    table = pyarrow.dataset.dataset(directory, format="parquet" if form == "parquet" else "ipc").to_table()
    columns = []
    for field in table.schema:
        column = table.column(field.name)
        if field.name in forms and str(field.type) != ARROW.get(forms[field.name], str(field.type)):
            problem(f"pyarrow: {field.name} is {field.type}")
        if pyarrow.types.is_timestamp(field.type):
            column = column.cast(pyarrow.int64())
        elif pyarrow.types.is_date32(field.type):
            column = column.cast(pyarrow.int32())
        columns.append(column.to_pylist())
    compare("pyarrow", table.column_names, list(zip(*columns)))


def with_duckdb():
    connection = duckdb.connect()
    if form == "parquet":
        relation = f"read_parquet('{directory}/**/*.parquet', hive_partitioning = false)"
    else:
        # DuckDB itself reads no Arrow files.
        connection.register("arrow", pyarrow.dataset.dataset(directory, format="ipc").to_table())
        relation = "arrow"
    names, expressions = [], []
    for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall():
        quoted = f'"{name}"'
        if kind.startswith("TIMESTAMP"):
            quoted = f"epoch_us({quoted})"
        elif kind == "DATE":
            quoted = f"({quoted} - DATE '1970-01-01')"
        names.append(name)
        expressions.append(quoted)
    compare("duckdb", names, connection.execute(f"SELECT {', '.join(expressions)} FROM {relation}").fetchall())


def with_polars():
    scan = polars.scan_parquet if form == "parquet" else polars.scan_ipc
    frame = scan(directory, hive_partitioning=False).collect()
    frame = frame.with_columns(
        [polars.col(n).cast(polars.Int64) for n, t in frame.schema.items() if isinstance(t, polars.Datetime)]
        + [polars.col(n).cast(polars.Int32) for n, t in frame.schema.items() if t == polars.Date])
    compare("polars", frame.columns, frame.rows())


with_pyarrow()
with_duckdb()
with_polars()
sys.exit(1 if problems else 0)
