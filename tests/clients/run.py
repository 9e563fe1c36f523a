#!/usr/bin/env python3
"""Runs every client here against a running server and writes docs/CLIENTS.md from what happened.

    PGHOST=127.0.0.1 PGPORT=5433 PGUSER=<key id> PGPASSWORD=<key> FLIGHT=127.0.0.1:5434 \\
    REVGAUGE_URL=http://127.0.0.1:8780 STORE=revgauge-data \\
    tests/clients/run.py [PYTHON] [FOLDER OF node_modules]

DBT is the dbt command, HARLEQUIN_PYTHON a Python with harlequin, PGJDBC the driver's jar, PGBIN PostgreSQL's own programs,
ODBCSYSINI a folder whose odbcinst.ini has a driver [PostgreSQL]. What was used: psql, pgbench and postgres_fdw 15, pgJDBC 42.5,
psqlODBC 13.02, Python 3.11 with psycopg[binary], psycopg2-binary, asyncpg, sqlalchemy, pg8000, adbc-driver-postgresql,
adbc-driver-flightsql, adbc-driver-manager, pyarrow, polars, deltalake, ibis-framework[postgres], pyodbc, mcp, duckdb 1.5.5 with
duckdb-extensions and duckdb-extension-delta; dbt-core < 1.12 with dbt-postgres 1.11; harlequin 2.17 with harlequin-postgres;
Node 20 with pg 8.23, pg-cursor and postgres 3.4.
SUPERSET_URL is a running Apache Superset: pip install apache-superset==6.1.0 Flask-Caching==2.3.1 cachetools rich psycopg2-binary,
a configuration with SECRET_KEY, WTF_CSRF_ENABLED = False and TALISMAN_ENABLED = False, then `superset db upgrade`, `superset fab
create-admin` (admin, admin), `superset init`, `superset run`.
A client that is not installed is listed as skipped. Failures are listed, not hidden.
"""
import datetime
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
PYTHON = sys.argv[1] if len(sys.argv) > 1 else sys.executable
NODE_FOLDER = sys.argv[2] if len(sys.argv) > 2 else str(HERE)
NOT_TO_BE_HAD = [
    ("Grafana, Metabase, DBeaver, DataGrip, Power BI, Tableau", "in no package registry"),
    ("Flight SQL JDBC", "in no package registry"),
]


def lines(name, command, cwd=None):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"skipped {name}: {str(error)[:100]}"]
    found = [line for line in done.stdout.splitlines() if line.split(" ", 1)[0] in ("ok", "FAIL", "skipped")]
    if done.returncode != 0 and not any(line.startswith("FAIL") for line in found):
        found.append(f"skipped {name}: {(done.stderr.strip().splitlines() or ['it ended early'])[-1][:100]}")
    return found


def node():
    script = pathlib.Path(NODE_FOLDER, "revgauge_clients.mjs")
    shutil.copy(HERE / "node_clients.mjs", script)
    try:
        return lines("node", ["node", str(script)], cwd=NODE_FOLDER)
    finally:
        script.unlink()


def jdbc():
    jar = os.environ.get("PGJDBC")
    if not jar:
        return ["skipped pgJDBC: PGJDBC names no jar"]
    return lines("pgJDBC", ["java", "-cp", jar, str(HERE / "JdbcClient.java")])


results = [f"{line.split(' ', 1)[0]} psql: {line.split(' ', 1)[1]}" for line in lines("psql", ["bash", str(HERE / "psql.sh")])]
results += lines("python", [PYTHON, str(HERE / "python_clients.py")])
if "HARLEQUIN_PYTHON" in os.environ:
    results = [line for line in results if not line.startswith("skipped harlequin")]
    results += lines("harlequin", [os.environ["HARLEQUIN_PYTHON"], str(HERE / "python_clients.py"), "harlequin_client"])
results += node()
results += jdbc()
results += lines("dbt", ["bash", str(HERE / "dbt.sh")])
results += lines("postgres_fdw", ["bash", str(HERE / "fdw.sh")])
results += lines("ADBC Flight SQL", [PYTHON, str(HERE / "flight_client.py")])
results += lines("MCP (python)", [PYTHON, str(HERE / "mcp_client.py")])
if "SUPERSET_URL" in os.environ:
    results += lines("Apache Superset", [PYTHON, str(HERE / "superset_client.py")])
else:
    results.append("skipped Apache Superset: SUPERSET_URL names no server")
results += lines("lake", [PYTHON, str(HERE / "lake_clients.py")])
rows = []
for line in results:
    verdict, rest = line.split(" ", 1)
    client, _, what = rest.partition(": ")
    rows.append(f"| {client} | {what.replace('|', chr(92) + '|')} | {'**fails**' if verdict == 'FAIL' else verdict} |")
rows += [f"| {client} | {why} | not run |" for client, why in NOT_TO_BE_HAD]
counts = {verdict: sum(line.startswith(verdict + " ") for line in results) for verdict in ("ok", "FAIL", "skipped")}
text = f"""# Clients

Written by `tests/clients/run.py` from a run on {datetime.date.today()} against the doors of one server: {counts['ok']} ok, {counts['FAIL']} failed,
{counts['skipped']} skipped. What twenty clients were recorded to send (`tests/clients/corpus`) is replayed by the tests of
`query-api` (`tests/corpus.rs`) and must not fail.

| client | case | outcome |
| --- | --- | --- |
""" + "\n".join(rows) + "\n"
(HERE.parent.parent / "docs" / "CLIENTS.md").write_text(text)
print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skipped']} skipped")
for line in results:
    if not line.startswith("ok "):
        print(line)
