#!/usr/bin/env python3
"""Runs every client here against a running server and writes docs/CLIENTS.md from what happened.

    PGHOST=127.0.0.1 PGPORT=5433 PGUSER=<key id> PGPASSWORD=<key> tests/clients/run.py [PYTHON] [FOLDER OF node_modules]

A client that is not installed is listed as skipped. Failures are listed, not hidden.
"""
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
PYTHON = sys.argv[1] if len(sys.argv) > 1 else sys.executable
NODE_FOLDER = sys.argv[2] if len(sys.argv) > 2 else str(HERE)


def lines(name, command, cwd=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)
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


results = [f"{line.split(' ', 1)[0]} psql: {line.split(' ', 1)[1]}" for line in lines("psql", ["bash", str(HERE / "psql.sh")])]
results += lines("python", [PYTHON, str(HERE / "python_clients.py")])
results += node()
rows = []
for line in results:
    verdict, rest = line.split(" ", 1)
    client, _, what = rest.partition(": ")
    rows.append(f"| {client} | {what.replace('|', chr(92) + '|')} | {'**fails**' if verdict == 'FAIL' else verdict} |")
counts = {verdict: sum(line.startswith(verdict + " ") for line in results) for verdict in ("ok", "FAIL", "skipped")}
text = f"""# Clients

Written by `tests/clients/run.py` from a run against the PostgreSQL door: {counts['ok']} ok, {counts['FAIL']} failed,
{counts['skipped']} skipped.

| client | case | outcome |
| --- | --- | --- |
""" + "\n".join(rows) + "\n"
(HERE.parent.parent / "docs" / "CLIENTS.md").write_text(text)
print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skipped']} skipped")
for line in results:
    if not line.startswith("ok "):
        print(line)
