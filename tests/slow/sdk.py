"""The official Segment and RudderStack SDKs send through a restart of the server: every event once."""
import pathlib
import signal
import subprocess
import sys
import time

from node import Node, folder

binary, python, modules = sys.argv[1:4]
here = pathlib.Path(__file__).parent / "sdk"
COUNT = 300
node = Node(binary, folder("sdk")).start()
clients = {
    "segment-python": [python, here / "segment.py"],
    "rudder-python": [python, here / "rudder.py"],
    "segment-node": ["node", here / "segment.mjs"],
    "rudder-node": ["node", here / "rudder.mjs"],
}
running = {
    name: subprocess.Popen([*map(str, command), node.base, node.key, str(COUNT), modules])
    for name, command in clients.items()
}
time.sleep(2)
node.stop(signal.SIGKILL)
time.sleep(1)
node.start()
time.sleep(1)
node.stop(signal.SIGTERM)
node.start()
for name, process in running.items():
    assert process.wait(180) == 0, name
failed = 0
for name in clients:
    row = node.sql(
        f"SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM events WHERE contact_id LIKE '{name}-%'"
    )[0]
    good = row["n"] == COUNT and row["ids"] == COUNT
    failed += not good
    print(f"{name}: {row['n']} events, {row['ids']} ids, wanted {COUNT}: {'ok' if good else 'FAILED'}")
node.verify()
node.stop()
sys.exit(1 if failed else 0)
