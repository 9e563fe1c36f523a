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
    "segment-python": [python, here / "segment_python.py"],
    "rudder-python": [python, here / "rudder_python.py"],
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
failed = 0
for name, process in running.items():
    try:
        ended = process.wait(90)
    except subprocess.TimeoutExpired:
        process.kill()
        ended = "no end within 90 s"
    if ended != 0:
        failed += 1
        print(f"{name}: the SDK's process ended with {ended}")
for name in clients:
    row = node.sql(
        f"SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM events WHERE contact_id LIKE '{name}-%'"
    )[0]
    good = row["n"] == COUNT and row["ids"] == COUNT
    failed += not good
    print(f"{name}: {row['n']} events, {row['ids']} ids, wanted {COUNT}: {'ok' if good else 'FAILED'}")
print(f"{node.verify()} pipelines verified")
node.stop()
sys.exit(1 if failed else 0)
