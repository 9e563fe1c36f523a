"""Journal and lake on S3 (moto), through a kill; a store that ignores If-None-Match is refused elsewhere (store tests)."""
import json
import signal
import subprocess
import sys
import time
import urllib.request

from node import Node, free_port

binary, bin_folder = sys.argv[1:3]
port = free_port()
moto = subprocess.Popen([f"{bin_folder}/moto_server", "-H", "127.0.0.1", "-p", str(port)],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    for _ in range(100):
        try:
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/revgauge", method="PUT"), timeout=2)
            break
        except OSError:
            time.sleep(0.2)
    else:
        sys.exit("moto made no bucket within 20 s")
    env = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "REVGAUGE__STORE__OPTIONS__ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    }
    node = Node(binary, "s3://revgauge/data", env=env).start()
    lines = [{"event_id": f"e{n}", "type": "email.replied", "email": f"p{n % 9}@acme.io"} for n in range(500)]
    body = "\n".join(map(json.dumps, lines)).encode()
    assert node.post("/v1/events", body, "application/x-ndjson")["accepted"] == 500
    node.stop(signal.SIGKILL)
    node.start()
    assert node.sql("SELECT count(*) AS n FROM events")[0]["n"] == 500
    time.sleep(4)
    assert node.post("/v1/events", body, "application/x-ndjson")["accepted"] == 500
    assert node.sql("SELECT count(*) AS n FROM events")[0]["n"] == 500
    print(f"s3 by moto: 500 events once through a kill, {node.verify()} pipelines verified")
    node.stop()
finally:
    moto.terminate()
