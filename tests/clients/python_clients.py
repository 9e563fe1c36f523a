#!/usr/bin/env python3
"""Python clients against PGHOST, PGPORT, PGUSER, PGPASSWORD: "ok CLIENT: NAME" or "FAIL CLIENT: NAME: reason" a line."""
import asyncio
import os

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
        case(client, "schemas", lambda: equal("public" in inspect().get_schema_names(), True))
        case(client, "views", lambda: equal("deals" in inspect().get_view_names(), True))
        case(client, "columns", lambda: equal(len(inspect().get_columns("deals")) > 5, True))


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


for client in [psycopg3, asyncpg_client, sqlalchemy_client, pg8000_client]:
    try:
        client()
    except ImportError as error:
        print(f"skipped {client.__name__}: {error}")
