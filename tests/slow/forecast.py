"""How fast is a forecast of 5,000 open deals, by REST: the first one, one after it, a what-if, that of each team
and person, one after a new event?

    python3 tests/slow/forecast.py target/release/revgauge [folder]

An organisation of 200 sellers in 20 teams by `revgauge simulate`: three years of one, and the last weeks of a larger one
whose deals are mostly still open. A folder given is kept, and its store used again.
"""
import json
import pathlib
import statistics
import subprocess
import sys
import time
import urllib.request

from node import Node, folder

SELLERS, TEAMS = 200, 20


def simulated(binary, *arguments):
    """CRM events alone: people's activity changes no forecast."""
    made = subprocess.Popen(
        [binary, "simulate", "--out", "-", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    for line in made.stdout:
        if '"type":"deal.upserted"' in line or '"type":"stage.upserted"' in line:
            yield json.loads(line)


def organisation(binary, file):
    parts = [
        ("", ["--accounts", "5600", "--days", "1096"]),
        ("late-", ["--seed", "2", "--accounts", "16200", "--days", "75"]),
    ]
    with open(file, "w") as out:
        def write(event):
            out.write(json.dumps(event) + "\n")

        def person(name, manager):
            payload = {"name": name} | ({"manager_id": manager} if manager else {})
            write({"event_id": f"user-{name}", "type": "user.upserted", "user_id": name,
                   "event_time": "2020-01-01T00:00:00Z", "source": "simulator", "payload": payload})

        person("head", None)
        for team in range(TEAMS):
            person(f"lead-{team}", "head")
        for seller in range(SELLERS):
            person(f"rep-{seller}", f"lead-{seller % TEAMS}")
        for prefix, arguments in parts:
            for event in simulated(binary, *arguments):
                event["event_id"] = prefix + event["event_id"]
                if "deal_id" in event:
                    event["deal_id"] = prefix + event["deal_id"]
                    event["user_id"] = f"rep-{int(event['user_id'].split('-')[1]) % SELLERS}"
                write(event)


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    home = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else folder("forecast")
    home.mkdir(parents=True, exist_ok=True)
    node = Node(binary, home / "store")
    if not (home / "store").exists():
        organisation(binary, home / "crm.ndjson")
        node.command("import", str(home / "crm.ndjson"))
    node.start()

    def asked(path, body=None):
        request = urllib.request.Request(
            node.base + path, data=body and json.dumps(body).encode(), method="POST" if body else "GET",
            headers={"Authorization": f"Bearer {node.key}", "Content-Type": "application/json"},
        )
        begun = time.perf_counter()
        with urllib.request.urlopen(request, timeout=290) as answer:
            text = answer.read()
        return (time.perf_counter() - begun) * 1000, json.loads(text)

    def told(what, *times):
        rest = f", median of {len(times)}" if len(times) > 1 else ""
        print(f"{what}: {statistics.median(times):.0f} ms (most {max(times):.0f} ms{rest})", flush=True)

    for _ in range(100):  # the live state is read from the lake first
        if node.sql("SELECT count(*) AS n FROM deals")[0]["n"] > 20_000:
            break
        time.sleep(0.5)
    path = "/v1/forecast?period=current&limit=1000"
    took, answer = asked(path)
    forecast = answer["forecasts"][0]
    deals = node.sql("SELECT deal_id, owner_id, amount FROM forecast_rows_as_of(NULL, 'current') WHERE kind = 'open' LIMIT 6000")
    ended = forecast["ended_deals"]
    print(f"{len(deals)} open of {len(deals) + ended} deals, {len({row['owner_id'] for row in deals})} owners,"
          f" {forecast['past_periods']} past periods")
    told("first forecast", took)
    told("forecast", *(asked(path)[0] for _ in range(9)))
    told("forecast, ten rows of the math", *(asked("/v1/forecast?period=current&limit=10")[0] for _ in range(9)))
    whats = []
    for deal in deals[:9]:
        body = {"period": "current", "what_if": [{"deal_id": deal["deal_id"], "probability": 0.9}]}
        whats.append(asked("/v1/forecast?limit=10", body)[0])
    told("what-if", *whats)
    told("team never asked for", *(asked(f"/v1/forecast?period=current&team_of=lead-{n}&limit=10")[0] for n in range(5)))
    told("team again", *(asked(f"/v1/forecast?period=current&team_of=lead-{n}&limit=10")[0] for n in range(5)))
    by_node = [asked("/v1/forecast/nodes?period=current&limit=1000") for _ in range(9)]
    nodes = by_node[0][1]["nodes"]
    told(f"by node, {len(nodes)} of them", *(took for took, _ in by_node))
    below = {}
    for node_of in nodes[1:]:
        above = (node_of["parent"], node_of["parent_kind"])
        below[above] = below.get(above, 0) + node_of["value"]
    off = max(abs(below[key] - one["value"]) for one in nodes if (key := (one["node"], one["node_kind"])) in below)
    print(f"top {nodes[0]['value']:.2f}, most that the nodes below one are off its own: {off:.6f}")
    after = []
    for number in range(5):
        deal = deals[20 + number]
        event = {"event_id": f"moved-{time.time_ns()}", "type": "deal.upserted", "source": "simulator",
                 "deal_id": deal["deal_id"], "payload": {"amount": deal["amount"] + 1}}
        event["event_time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        asked("/v1/events", [event])
        after.append(asked(path)[0])
    told("forecast after a new event about a deal", *after)
    rows = node.sql("SELECT count(*) AS n FROM forecast_rows_as_of(NULL, 'current')")
    print(f"rows in SQL: {rows[0]['n']}")
    node.stop()


main()
