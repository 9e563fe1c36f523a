#!/usr/bin/env python3
"""How long each door takes to refuse credentials that are wrong in different ways, asked in turn so that load falls on all.

    REVGAUGE_URL=http://127.0.0.1:8780 PGHOST=127.0.0.1 PGPORT=5433 REVOKED=<key> GOOD=<key> [EXPIRED=<key>] [ROUNDS=300] \\
    tests/clients/credentials.py

Prints a row per door and kind: median and 95th percentile in ms. The rows of a door should not differ by more than chance.
"""
import http.client
import os
import socket
import statistics
import struct
import time
import urllib.parse

ROUNDS = int(os.environ.get("ROUNDS", "300"))
URL = urllib.parse.urlsplit(os.environ["REVGAUGE_URL"])
GOOD = os.environ["GOOD"]
# The right id with another secret, and an id of nobody; both as long as a real key.
KINDS = {
    "revoked": os.environ["REVOKED"],
    "wrong secret": GOOD[:-8] + "x" * 8,
    "unknown id": "_".join([*GOOD.split("_")[:2], "n" * len(GOOD.split("_")[2]), *GOOD.split("_")[3:]]),
    "garbage": "x" * len(GOOD),
}
if "EXPIRED" in os.environ:
    KINDS["expired"] = os.environ["EXPIRED"]


def rest():
    connection = http.client.HTTPConnection(URL.hostname, URL.port)

    def ask(key):
        connection.request("GET", "/v1/contacts", headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 401, answer.status
        return body
    return ask


def postgres():
    """SCRAM up to the verdict, by hand: a driver would add its own time."""
    address = (os.environ["PGHOST"], int(os.environ["PGPORT"]))

    def message(sock):
        head = sock.recv(5, socket.MSG_WAITALL)
        return head[:1], sock.recv(struct.unpack("!i", head[1:])[0] - 4, socket.MSG_WAITALL)

    def ask(key):
        user = (key.split("_") + ["nobody"] * 3)[2]
        with socket.create_connection(address) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            body = struct.pack("!i", 196608) + b"user\0" + user.encode() + b"\0database\0revgauge\0\0"
            sock.sendall(struct.pack("!i", len(body) + 4) + body)
            message(sock)
            first = b"n,,n=,r=clientnonce"
            body = b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first
            sock.sendall(b"p" + struct.pack("!i", len(body) + 4) + body)
            kind, data = message(sock)
            assert kind == b"R", data
            nonce = data[4:].split(b",")[0][2:]
            final = b"c=biws,r=" + nonce + b",p=" + b"A" * 43 + b"="
            sock.sendall(b"p" + struct.pack("!i", len(final) + 4) + final)
            kind, data = message(sock)
            assert kind == b"E" and b"28P01" in data, data
    return ask


for door, ask in [("REST", rest()), ("PostgreSQL", postgres())]:
    took = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind, key in KINDS.items():
            began = time.perf_counter()
            ask(key)
            took[kind].append((time.perf_counter() - began) * 1e3)
    for kind, all_ms in took.items():
        all_ms.sort()
        print(f"| {door} | {kind} | {statistics.median(all_ms):.3f} | {all_ms[int(len(all_ms) * 0.95)]:.3f} |")
