"""bpi-2012 and snap-collegemsg: streamed through HTTP shuffled by up to three days with 5 % duplicates, against the import.

What is streamed are the imported events themselves, read back from `events`, so both sides see the same ones.
"""
import datetime
import json
import pathlib
import random
import subprocess
import sys

from node import Node, folder

binary = sys.argv[1]
datasets = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "datasets"
TABLES = ["contact_engagement", "contact_rhythm", "account_signals", "deal_activity", "deal_contacts",
          "rep_activity", "crm_state", "deal_history"]


def rows(node, table):
    answer = {}
    columns = [row["column_name"] for row in node.sql(
        f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'")]
    floats = [name for name in columns if name.startswith(("s_", "value_"))]
    keys = [name for name in columns if name not in floats and name != "known_at" and "ingested" not in name]
    done = subprocess.run(
        [binary, "--server", node.base, "--key", node.key, "query", "--format", "ndjson",
         f"SELECT * FROM {table}"], capture_output=True, text=True, check=True)
    assert columns, f"{table} has no columns"
    lines = done.stdout.splitlines()
    for line in lines:
        row = json.loads(line)
        answer[tuple(str(row.get(key)) for key in keys)] = [row.get(name) for name in floats]
    assert len(answer) == len(lines), f"{table}: {len(lines)} rows, {len(answer)} distinct"
    return answer


def close(a, b):
    return a == b or (a is not None and b is not None and abs(a - b) <= 1e-9 * max(abs(a), abs(b)))


def compare(name):
    data = datasets / name
    if not data.is_dir():
        print(f"SKIPPED: the data set {name} is not beside the repository")
        return
    imported = Node(binary, folder(name + "-import"))
    imported.command("import", "--mapping", name, str(data))
    imported.start()
    events = subprocess.run(
        [binary, "--server", imported.base, "--key", imported.key, "query", "--format", "ndjson",
         "SELECT event_id, kind, type, event_time, known_at, source, account_id, contact_id, deal_id, user_id, email, "
         "domain, direction, machine_class, value, payload FROM events"],
        capture_output=True, text=True, check=True).stdout.splitlines()
    late, chance = [], random.Random(5)
    for line in events:
        event = {key: value for key, value in json.loads(line).items() if value is not None}
        event["payload"] = json.loads(event["payload"])
        at = datetime.datetime.fromisoformat(event["event_time"].replace("Z", "+00:00")).timestamp()
        late.append((at + chance.uniform(0, 3 * 86400), json.dumps(event)))
        if chance.random() < 0.05:
            late.append((at + chance.uniform(0, 3 * 86400), json.dumps(event)))
    late.sort()
    streamed = Node(binary, folder(name + "-stream")).start()
    for first in range(0, len(late), 500):
        body = "\n".join(text for _, text in late[first:first + 500]).encode()
        streamed.post("/v1/events?verbose=false&history=true", body, "application/x-ndjson")
    streamed.verify()
    imported.verify()
    kept = [node.sql("SELECT count(*) AS n FROM events")[0]["n"] for node in (imported, streamed)]
    assert kept == [len(events), len(events)], f"{name}: {len(events)} events, kept {kept}"
    compared = 0
    for table in TABLES:
        a, b = rows(imported, table), rows(streamed, table)
        assert a.keys() == b.keys(), f"{name} {table}: {len(a)} and {len(b)} rows, differing: {sorted(a.keys() ^ b.keys())[:4]}"
        worst = [key for key in a if not all(map(close, a[key], b[key]))]
        assert not worst, f"{name} {table}: {worst[:3]}"
        compared += len(a)
        print(f"{name} {table}: {len(a)} rows are the same")
    assert compared, f"{name}: every table is empty"
    print(f"{name}: {len(events)} events, {len(late)} sent shuffled with duplicates: same tables")
    imported.stop()
    streamed.stop()


for name in ["bpi-2012", "snap-collegemsg"]:
    compare(name)
