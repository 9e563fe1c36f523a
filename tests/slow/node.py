"""A server process on a folder (or a store URL), for the slow suites."""
import atexit
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request

TENANT = "acme"
# A suite that is ended from outside takes its servers with it.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    def __init__(self, binary, store, port=None, env=None):
        self.binary, self.store, self.port = binary, str(store), port or free_port()
        self.env = {**os.environ, **(env or {})}
        self.base = f"http://127.0.0.1:{self.port}"
        self.key = None

    def command(self, *arguments):
        done = subprocess.run(
            [self.binary, "--tenant", TENANT, "--store", self.store, *arguments],
            env=self.env, capture_output=True, text=True,
        )
        if done.returncode:
            raise SystemExit(f"{arguments}: {done.stderr}")
        return done.stdout

    def start(self):
        if self.key is None:
            self.key = self.command("keys", "create", "--role", "admin").strip()
        self.process = subprocess.Popen(
            [self.binary, "serve", "--store", self.store, "--listen", f"127.0.0.1:{self.port}"],
            env=self.env, stdout=subprocess.PIPE, text=True,
        )
        atexit.register(self.process.kill)
        line = self.process.stdout.readline()
        assert line.startswith("listening on"), line
        return self

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)

    def post(self, path, body, kind="application/json"):
        request = urllib.request.Request(
            self.base + path, data=body, method="POST",
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": kind},
        )
        with urllib.request.urlopen(request, timeout=290) as answer:
            return json.load(answer)

    def sql(self, sql):
        return self.post("/v1/sql", json.dumps({"sql": sql}).encode())["rows"]

    def verify(self):
        reports = self.post("/v1/pipelines/verify", b"null")["items"]
        differing = sum(report["differing"] for report in reports)
        assert reports and differing == 0, reports
        return len(reports)


def folder(name):
    return pathlib.Path(tempfile.mkdtemp(prefix=f"revgauge-{name}-"))
