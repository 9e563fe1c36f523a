#!/usr/bin/env python3
"""The Model Context Protocol's own Python client against REVGAUGE_URL/mcp with PGPASSWORD as key."""
import asyncio
import json
import os

from mcp import ClientSession
from mcp.client import streamable_http

URL = os.environ["REVGAUGE_URL"].rstrip("/") + "/mcp"
HEADERS = {"Authorization": f"Bearer {os.environ['PGPASSWORD']}"}


def transport():
    """The client's name and arguments have changed between its versions."""
    if hasattr(streamable_http, "streamablehttp_client"):
        return streamable_http.streamablehttp_client(URL, headers=HEADERS)
    try:
        import httpx2 as httpx
    except ImportError:
        import httpx
    return streamable_http.streamable_http_client(URL, http_client=httpx.AsyncClient(headers=HEADERS))


async def main():
    async with transport() as streams, ClientSession(streams[0], streams[1]) as session:
        await session.initialize()
        print("ok MCP (python): initialize", flush=True)
        tools = [tool.name for tool in (await session.list_tools()).tools]
        wanted = {"list_metrics", "describe", "query_sql", "explain_score", "forecast"}
        missing = wanted - set(tools)
        print("ok MCP (python): tools" if not missing else f"FAIL MCP (python): tools: {missing} missing", flush=True)

        async def call(name, arguments, check):
            result = await session.call_tool(name, arguments)
            text = result.content[0].text
            try:
                assert check(result, text), text[:120]
                print(f"ok MCP (python): {name} {json.dumps(arguments)[:60]}", flush=True)
            except Exception as error:
                print(f"FAIL MCP (python): {name}: {' '.join(str(error).split())[:120]}", flush=True)

        failed = lambda result: getattr(result, "isError", None) or getattr(result, "is_error", None)
        rows = lambda text: json.loads(text)["rows"]
        await call("list_metrics", {}, lambda _, text: len(json.loads(text)["metrics"]) >= 12)
        await call("query_metric", {"name": "open_pipeline", "by": ["stage"]}, lambda _, text: rows(text) is not None)
        await call("query_metric", {"name": "open_pipeline", "every": "day"},
                   lambda result, text: failed(result) and "semi_additive" in text)
        await call("describe", {"table": "deals"}, lambda _, text: any(row["column_name"] == "amount" for row in rows(text)))
        await call("query_sql", {"sql": "SELECT count(*) AS n FROM deals"}, lambda _, text: rows(text)[0]["n"] >= 0)
        await call("query_sql", {"sql": "DROP TABLE deals"}, lambda result, text: failed(result) and "read_only" in text)
        deals = await session.call_tool("query_sql", {"sql": "SELECT deal_id FROM deals LIMIT 1"})
        found = rows(deals.content[0].text)
        if found:
            arguments = {"entity_kind": "deal", "entity_id": found[0]["deal_id"]}
            await call("explain_score", arguments, lambda _, text: "scores" in json.loads(text))
        if "forecast" in tools:
            await call("forecast", {}, lambda result, text: not failed(result) and "forecasts" in json.loads(text))


asyncio.run(main())
