#!/usr/bin/env python3
"""Python clients against PGHOST, PGPORT, PGUSER, PGPASSWORD: "ok CLIENT: NAME" or "FAIL CLIENT: NAME: reason" a line."""
import asyncio
import os
import sys

HOST, PORT = os.environ["PGHOST"], int(os.environ["PGPORT"])
USER, KEY = os.environ["PGUSER"], os.environ["PGPASSWORD"]
URL = f"{USER}:{KEY}@{HOST}:{PORT}/revgauge"


def case(client, name, work):
    try:
        work()
        print(f"ok {client}: {name}", flush=True)
    except Exception as error:  # every failure of a client is a row of the table
        print(f"FAIL {client}: {name}: {' '.join(str(error).split())[:120]}", flush=True)


def equal(got, expected):
    assert got == expected, f"got {got!r}, expected {expected!r}"


def psycopg3():
    import psycopg

    def connect(**more):
        return psycopg.connect(f"postgresql://{URL}", **more)

    def query(binary):
        with connect() as connection, connection.cursor(binary=binary) as cursor:
            row = cursor.execute("select 1::bigint, 'x', 1.5::double precision, true, null").fetchone()
            equal(row, (1, "x", 1.5, True, None))

    def parameters():
        with connect() as connection:
            equal(connection.execute("select %s::int + 1, %s", (41, "x")).fetchone(), (42, "x"))

    def named_cursor():
        with connect() as connection, connection.cursor(name="c") as cursor:
            cursor.itersize = 2
            equal(len(list(cursor.execute("select * from generate_series(1, 5)"))), 5)

    def copy():
        with connect() as connection, connection.cursor().copy("copy (select 1, 'a') to stdout") as rows:
            equal(b"".join(rows), b"1\ta\n")

    def failed_transaction():
        with connect() as connection:
            try:
                connection.execute("select * from nope")
            except psycopg.errors.UndefinedTable:
                connection.rollback()
            equal(connection.execute("select 1").fetchone()[0], 1)

    case("psycopg 3", "text results", lambda: query(False))
    case("psycopg 3", "binary results", lambda: query(True))
    case("psycopg 3", "parameters", parameters)
    case("psycopg 3", "named cursor", named_cursor)
    case("psycopg 3", "copy out", copy)
    case("psycopg 3", "failed transaction", failed_transaction)


def asyncpg_client():
    import asyncpg

    async def run(work):
        connection = await asyncpg.connect(f"postgresql://{URL}")
        try:
            return await work(connection)
        finally:
            await connection.close()

    async def query(connection):
        equal(await connection.fetchval("select 1"), 1)
        equal(await connection.fetchval("select $1::bigint + 1", 41), 42)

    async def any_of(connection):
        sql = "select count(*) from information_schema.tables where table_name = any($1::text[])"
        equal(await connection.fetchval(sql, ["deals", "scores"]), 2)

    async def cursor(connection):
        async with connection.transaction():
            rows = [row async for row in connection.cursor("select * from generate_series(1, 5)", prefetch=2)]
            equal(len(rows), 5)

    for name, work in [("query", query), ("= any($1)", any_of), ("cursor", cursor)]:
        case("asyncpg", name, lambda work=work: asyncio.run(run(work)))


def sqlalchemy_client():
    import sqlalchemy

    for driver in ["psycopg", "psycopg2"]:
        engine = sqlalchemy.create_engine(f"postgresql+{driver}://{URL}")

        def query():
            with engine.connect() as connection:
                equal(connection.execute(sqlalchemy.text("select 1")).scalar(), 1)

        client = f"SQLAlchemy ({driver})"
        case(client, "connect and query", query)
        inspect = lambda: sqlalchemy.inspect(engine)

        def reflect():
            table = sqlalchemy.Table("deals", sqlalchemy.MetaData(), autoload_with=engine, schema="public")
            equal([column.name for column in table.primary_key], ["deal_id"])
            equal(inspect().get_indexes("deals"), [])
            with engine.connect() as connection:
                connection.execute(sqlalchemy.select(table).limit(1)).fetchall()

        case(client, "schemas", lambda: equal("public" in inspect().get_schema_names(), True))
        case(client, "views", lambda: equal("deals" in inspect().get_view_names(), True))
        case(client, "columns", lambda: equal(len(inspect().get_columns("deals")) > 5, True))
        case(client, "primary key", lambda: equal(inspect().get_pk_constraint("deals")["constrained_columns"], ["deal_id"]))
        case(client, "comments", lambda: equal("deal" in inspect().get_table_comment("deals")["text"], True))
        case(client, "reflection", reflect)


def pg8000_client():
    import ssl

    import pg8000.native

    def query():
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = pg8000.native.Connection(
            USER, host=HOST, port=PORT, password=KEY, database="revgauge", ssl_context=trusting
        )
        equal(connection.run("select 1"), [[1]])
        equal(connection.run("select cast(:a as int) + 1", a=41), [[42]])
        connection.close()

    case("pg8000", "query and parameters over TLS", query)


def adbc_client():
    from adbc_driver_postgresql import dbapi

    def query():
        with dbapi.connect(f"postgresql://{URL}") as connection, connection.cursor() as cursor:
            cursor.execute("select deal_id, amount, created_at from deals limit 5")
            equal(cursor.fetch_arrow_table().num_columns, 3)

    def objects():
        with dbapi.connect(f"postgresql://{URL}") as connection:
            connection.adbc_get_objects(depth="tables").read_all()
            equal("deal_id" in connection.adbc_get_table_schema("deals").names, True)

    case("ADBC PostgreSQL", "query as Arrow", query)
    case("ADBC PostgreSQL", "objects and schema", objects)


def ibis_client():
    import ibis

    def group():
        connection = ibis.postgres.connect(
            host=HOST, port=PORT, user=USER, password=KEY, database="revgauge", schema="public"
        )
        equal("deals" in connection.list_tables(), True)
        deals = connection.table("deals")
        deals.group_by("stage").agg(n=deals.count()).execute()

    case("ibis", "tables and group by", group)


def polars_client():
    import polars

    def read():
        frame = polars.read_database_uri("select stage, count(*) as n from deals group by 1", f"postgresql://{URL}", engine="adbc")
        equal(frame.columns, ["stage", "n"])

    case("polars", "read_database_uri (ADBC)", read)


def odbc_client():
    import pyodbc

    def connect():
        return pyodbc.connect(
            f"DRIVER={{PostgreSQL}};SERVER={HOST};PORT={PORT};DATABASE=revgauge;UID={USER};PWD={KEY};"
            "SSLmode=require;UseDeclareFetch=1;Fetch=100",
            autocommit=True,
        )

    def tables():
        cursor = connect().cursor()
        equal("deals" in [row.table_name for row in cursor.tables(schema="public")], True)
        equal(len(cursor.columns(table="deals", schema="public").fetchall()) > 5, True)
        equal([row.column_name for row in cursor.primaryKeys("deals", schema="public")], ["deal_id"])

    def query():
        rows = connect().cursor().execute("select cast(? as double precision) + 1", 41.0).fetchall()
        equal(rows[0][0], 42.0)

    case("psqlODBC", "tables, columns, primary keys", tables)
    case("psqlODBC", "parameters and cursors", query)


def harlequin_client():
    from harlequin_postgres.adapter import HarlequinPostgresAdapter

    def catalog():
        connection = HarlequinPostgresAdapter(conn_str=(f"postgresql://{URL}",)).connect()
        items = connection.get_catalog().items
        equal(len(items) > 0, True)
        equal(len(connection.get_completions()) > 0, True)
        connection.execute("select 1 as one").fetchall()

    case("harlequin", "catalogue, completions, query", catalog)


CLIENTS = [psycopg3, asyncpg_client, sqlalchemy_client, pg8000_client, adbc_client, ibis_client,
           polars_client, odbc_client, harlequin_client]
for client in CLIENTS:
    if sys.argv[1:] and client.__name__ not in sys.argv[1:]:
        continue
    try:
        client()
    except (ImportError, ModuleNotFoundError) as error:
        print(f"skipped {client.__name__.replace('_client', '')}: {error}")
