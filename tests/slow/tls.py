#!/usr/bin/env python3
"""TLS on every port with one certificate of our own: HTTPS, PostgreSQL with verify-full, Flight SQL. Needs openssl and psql.

    tests/slow/tls.py BINARY
"""
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile

from node import Node, free_port

BINARY = sys.argv[1]


def certificate(folder):
    key, chain = os.path.join(folder, "key.pem"), os.path.join(folder, "chain.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True)
    return key, chain


def says(name, held):
    print(f"{name}: {'ok' if held else 'FAIL'}", flush=True)
    assert held, name


def handshake(port, trusted, version):
    context = ssl.create_default_context(cafile=trusted)
    context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as sock, context.wrap_socket(sock, server_hostname="localhost"):
            return True
    except (ssl.SSLError, ConnectionError):
        return False


with tempfile.TemporaryDirectory() as folder:
    key, chain = certificate(folder)
    http_port, pg_port, flight_port = free_port(), free_port(), free_port()
    files = {}
    for section in ("SERVER", "API__POSTGRES", "API__FLIGHT"):
        files[f"REVGAUGE__{section}__TLS_CERTIFICATE"] = chain
        files[f"REVGAUGE__{section}__TLS_KEY"] = key
    files["REVGAUGE__API__POSTGRES__LISTEN"] = f"127.0.0.1:{pg_port}"
    files["REVGAUGE__API__FLIGHT__LISTEN"] = f"127.0.0.1:{flight_port}"
    node = Node(BINARY, os.path.join(folder, "data"), port=http_port, env=files).start()
    secret = node.key
    try:
        trusting = ssl.create_default_context(cafile=chain)
        connection = http.client.HTTPSConnection("localhost", http_port, context=trusting, timeout=10)
        connection.request("POST", "/v1/sql", "select 1 as one", {"Authorization": f"Bearer {secret}", "Content-Type": "text/plain"})
        answer = connection.getresponse()
        says("HTTPS, verified", answer.status == 200 and json.loads(answer.read())["rows"] == [{"one": 1}])
        plain = http.client.HTTPConnection("127.0.0.1", http_port, timeout=5)
        try:
            plain.request("GET", "/health/live")
            refused = plain.getresponse().status >= 400
        except (http.client.HTTPException, OSError):
            refused = True
        says("plain HTTP on that port is refused", refused)
        for port, name in ((http_port, "HTTPS"), (flight_port, "Flight SQL")):
            says(f"{name}: TLS 1.3", handshake(port, chain, ssl.TLSVersion.TLSv1_3))
            says(f"{name}: TLS 1.2", handshake(port, chain, ssl.TLSVersion.TLSv1_2))
            says(f"{name}: TLS 1.1 is refused", not handshake(port, chain, ssl.TLSVersion.TLSv1_1))
        user = secret.split("_")[2]
        for root, fits in ((chain, True), ("/nonexistent/root.pem", False)):
            target = f"host=localhost port={pg_port} user={user} dbname=revgauge sslmode=verify-full sslrootcert={root}"
            done = subprocess.run(["psql", target, "-Atc", "select 1"], capture_output=True, text=True,
                                  env={**os.environ, "PGPASSWORD": secret})
            says("PostgreSQL: verify-full" if fits else "PostgreSQL: another root is not trusted", (done.stdout.strip() == "1") == fits)
    finally:
        node.stop()
