#!/usr/bin/env python3
"""The ADBC Flight SQL driver against FLIGHT (host:port) with PGPASSWORD as key; --measure SQL prints MB/s of an answer."""
import os
import sys
import time

from adbc_driver_flightsql import DatabaseOptions, dbapi

KEY, USER = os.environ["PGPASSWORD"], os.environ["PGUSER"]
URI = f"grpc+tls://{os.environ['FLIGHT']}"
SKIP = {DatabaseOptions.TLS_SKIP_VERIFY.value: "true"}


def connect(**more):
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {KEY}", **SKIP, **more}
    return dbapi.connect(URI, db_kwargs=options)


def case(name, work):
    try:
        work()
        print(f"ok ADBC Flight SQL: {name}", flush=True)
    except Exception as error:
        print(f"FAIL ADBC Flight SQL: {name}: {' '.join(str(error).split())[:120]}", flush=True)


def equal(got, expected):
    assert got == expected, f"got {got!r}, expected {expected!r}"


def query():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 6 * 7 AS n, 'x' AS t")
        equal(cursor.fetch_arrow_table().to_pylist(), [{"n": 42, "t": "x"}])


def parameters():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_name = $1", ("deals",))
        equal(cursor.fetchone(), (1,))


def objects():
    with connect() as connection:
        found = connection.adbc_get_objects(depth="all").read_all().to_pylist()
        tables = [table["table_name"] for catalog in found for schema in catalog["catalog_db_schemas"]
                  for table in schema["db_schema_tables"]]
        equal("deals" in tables, True)
        equal("deal_id" in connection.adbc_get_table_schema("deals").names, True)
        equal(connection.adbc_get_table_types(), ["VIEW"])
        equal(connection.adbc_get_info()["vendor_name"], "Revgauge")


def handshake():
    with dbapi.connect(URI, db_kwargs={"username": USER, "password": KEY, **SKIP}) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            equal(cursor.fetchone(), (1,))


def refused(work, says):
    try:
        work()
    except Exception as error:
        assert says in str(error), str(error)
        return
    raise AssertionError("it was let through")


def write():
    with connect() as connection, connection.cursor() as cursor:
        refused(lambda: cursor.execute("DROP TABLE deals"), "only reads")


def wrong_key():
    def ask():
        wrong = {DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer rg_live_x_y", **SKIP}
        with dbapi.connect(URI, db_kwargs=wrong) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    refused(ask, "valid API key")


def polars_read():
    import polars
    with connect() as connection:
        frame = polars.read_database("SELECT stage, count(*) AS n FROM deals GROUP BY 1", connection)
        equal(frame.columns, ["stage", "n"])


if len(sys.argv) == 3 and sys.argv[1] == "--measure":
    with connect() as connection, connection.cursor() as cursor:
        began = time.perf_counter()
        cursor.execute(sys.argv[2])
        size = rows = 0
        for batch in cursor.fetch_record_batch():
            size, rows = size + batch.nbytes, rows + batch.num_rows
        took = time.perf_counter() - began
        print(f"{rows} rows, {size / 1e6:.1f} MB in {took:.2f} s: {size / 1e6 / took:.0f} MB/s")
else:
    for name, work in [("query over TLS", query), ("parameters", parameters), ("objects, schema, types, info", objects),
                       ("user and password (handshake)", handshake), ("writes are refused", write),
                       ("a wrong key is refused", wrong_key), ("polars read_database", polars_read)]:
        case(name, work)
