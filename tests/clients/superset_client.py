#!/usr/bin/env python3
"""Apache Superset's own server at SUPERSET_URL (user and password in SUPERSET_LOGIN, `admin:admin`) against PGHOST, PGPORT, PGUSER,
PGPASSWORD: a database, its tables, datasets, charts and SQL Lab through Superset's REST API. See run.py for how it was installed."""
import json
import os
import urllib.error
import urllib.request

URL = os.environ["SUPERSET_URL"]
USER, _, PASSWORD = os.environ.get("SUPERSET_LOGIN", "admin:admin").partition(":")
DATABASE = "postgresql+psycopg2://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/revgauge?sslmode=require".format(**os.environ)
token, made = None, []


def call(method, path, body=None):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    # A reading request that says it brings JSON and brings none is refused.
    data = json.dumps(body).encode() if body is not None else None
    headers.update({"content-type": "application/json"} if data else {})
    request = urllib.request.Request(URL + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()[:600]}") from None


def case(name, work):
    try:
        work()
        print(f"ok Apache Superset: {name}", flush=True)
    except Exception as error:
        print(f"FAIL Apache Superset: {name}: {' '.join(str(error).split())[:int(os.environ.get('WIDTH', 120))]}", flush=True)


def connect():
    asked = {"sqlalchemy_uri": DATABASE, "database_name": "probe"}
    call("POST", "/api/v1/database/test_connection/", asked)
    made.append(("database", call("POST", "/api/v1/database/", {**asked, "database_name": "revgauge", "expose_in_sqllab": True})["id"]))


def database():
    return next(id for kind, id in made if kind == "database")


def listing():
    assert "public" in call("GET", f"/api/v1/database/{database()}/schemas/?q=(force:!t)")["result"]
    found = call("GET", f"/api/v1/database/{database()}/tables/?q=(schema_name:public,force:!t)")["result"]
    names = {table["value"] for table in found}
    assert {"deals", "scores", "contacts"} <= names, names
    told = call("GET", f"/api/v1/database/{database()}/table_metadata/?name=deals&schema=public")
    assert {"deal_id", "amount"} <= {column["name"] for column in told["columns"]}, told


def dataset(table):
    asked = {"database": database(), "schema": "public", "table_name": table}
    id = call("POST", "/api/v1/dataset/", asked)["id"]
    made.append(("dataset", id))
    columns = call("GET", f"/api/v1/dataset/{id}")["result"]["columns"]
    assert columns, "no column was found"
    return id


def chart(table, **query):
    asked = {"datasource": {"id": dataset_of[table], "type": "table"}, "force": True,
             "queries": [{"row_limit": 100, "filters": [], "extras": {}, **query}], "result_format": "json", "result_type": "full"}
    answer = call("POST", "/api/v1/chart/data", asked)["result"][0]
    assert answer["status"] == "success" and answer["data"], answer
    return answer["data"]


dataset_of = {}


def datasets():
    for table in ["deals", "scores", "events"]:
        dataset_of[table] = dataset(table)


def count_by_stage():
    rows = chart("deals", columns=["stage"], metrics=[
        {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"},
        {"expressionType": "SIMPLE", "column": {"column_name": "amount"}, "aggregate": "SUM", "label": "sum"}], orderby=[["n", False]])
    assert {"stage", "n", "sum"} <= rows[0].keys(), rows[0]


def filtered():
    rows = chart("scores", columns=["entity_kind"], metrics=[
        {"expressionType": "SIMPLE", "column": {"column_name": "value"}, "aggregate": "AVG", "label": "mean"}],
        filters=[{"col": "score", "op": "IN", "val": ["engagement", "fit"]}, {"col": "value", "op": "IS NOT NULL"}])
    assert rows[0]["mean"] is not None, rows


def over_time():
    for grain in ["P1D", "P1W", "P1M", "P3M", "P1Y", "PT1H"]:
        axis = {"columnType": "BASE_AXIS", "expressionType": "SQL", "sqlExpression": "event_time", "label": "event_time", "timeGrain": grain}
        rows = chart("events", columns=[axis, "type"], metrics=[
            {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}],
            filters=[{"col": "event_time", "op": "TEMPORAL_RANGE", "val": "2020-01-01 : 2030-01-01"}])
        assert rows[0]["n"] > 0, (grain, rows)


def samples():
    asked = {"datasource": {"id": dataset_of["deals"], "type": "table"}, "queries": [{"row_limit": 10}], "force": True,
             "result_format": "json", "result_type": "samples"}
    assert call("POST", "/api/v1/chart/data", asked)["result"][0]["data"]


def lab(sql):
    asked = {"database_id": database(), "sql": sql, "schema": "public", "runAsync": False, "queryLimit": 100, "expand_data": True}
    return call("POST", "/api/v1/sqllab/execute/", asked)


def sql_lab():
    rows = lab("SELECT deal_id, stage, amount FROM deals ORDER BY amount DESC NULLS LAST")["data"]
    assert rows and "deal_id" in rows[0], rows
    rows = lab("WITH s AS (SELECT stage, count(*) AS n FROM deals GROUP BY 1) SELECT * FROM s WHERE n > 0")["data"]
    assert rows, rows


def refused():
    try:
        lab("DROP TABLE deals")
    except AssertionError as error:
        assert "DML" in str(error) or "only reads" in str(error) or "not allow" in str(error), error
        return
    raise AssertionError("it was let through")


def saved_chart_on_a_dashboard():
    params = {"viz_type": "table", "groupby": ["stage"], "metrics": ["count"], "datasource": f"{dataset_of['deals']}__table"}
    id = call("POST", "/api/v1/dashboard/", {"dashboard_title": "Pipeline"})["id"]
    made.append(("dashboard", id))
    context = {"datasource": {"id": dataset_of["deals"], "type": "table"}, "force": True, "result_format": "json", "result_type": "full",
               "queries": [{"columns": ["stage"], "metrics": ["count"], "filters": [], "extras": {}, "row_limit": 100}]}
    chart_id = call("POST", "/api/v1/chart/", {"slice_name": "Stages", "viz_type": "table", "params": json.dumps(params),
                                               "query_context": json.dumps(context), "datasource_id": dataset_of["deals"],
                                               "datasource_type": "table", "dashboards": [id]})["id"]
    made.append(("chart", chart_id))
    assert call("GET", f"/api/v1/chart/{chart_id}/data/")["result"][0]["data"]
    assert call("GET", f"/api/v1/dashboard/{id}/charts")["result"]


token = call("POST", "/api/v1/security/login", {"username": USER, "password": PASSWORD, "provider": "db"})["access_token"]
for name, work in [("a database is registered", connect), ("schemas, tables, columns", listing), ("datasets", datasets),
                   ("chart: count and sum by stage", count_by_stage), ("chart: mean, filtered", filtered),
                   ("chart: by hour, day, week, month, quarter, year", over_time), ("chart: samples", samples),
                   ("a saved chart on a dashboard", saved_chart_on_a_dashboard), ("SQL Lab", sql_lab),
                   ("SQL Lab: writes are refused", refused)]:
    case(name, work)
for kind, id in reversed(made):
    try:
        call("DELETE", f"/api/v1/{kind}/{id}")
    except AssertionError as error:
        print(f"skipped Apache Superset: cleaning up: {error}")
