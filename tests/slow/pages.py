#!/usr/bin/env python3
"""How long the server takes for each page of the dashboards, and how much it sends.

Usage: pages.py SIGN_IN_URL [REQUESTS_PER_PAGE]     (`revgauge demo` or `revgauge users link` prints the URL)
       pages.py SIGN_IN_URL --rate REQUESTS SECONDS   all pages mixed, so many requests a second in all, from 16 connections
       pages.py SIGN_IN_URL --reports       each standard report once, slowest first: nothing of it was asked before

Asks each page in turn, one at a time, with gzip as a browser does; prints median, p95 and transferred bytes. The first request
of a page is told apart: it computes what later ones within `fresh_ms` are given.
"""

import gzip
import http.client
import re
import sys
import threading
import time
from urllib.parse import urlsplit

PAGES = [
    "/ui/forecast", "/ui/deals", "/ui/deals?view=list", "/ui/leads", "/ui/accounts", "/ui/contacts", "/ui/team",
    "/ui/coaching", "/ui/tv", "/ui/reports", "/ui/reports/pipeline_by_stage", "/ui/saved", "/ui/sql", "/ui/data",
]


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    paced = len(sys.argv) == 5 and sys.argv[2] == "--rate"
    link, count = urlsplit(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2].isdigit() else 50
    door = http.client.HTTPConnection(link.hostname, link.port, timeout=120)

    def ask(path: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        door.request("GET", path, headers=headers)
        answer = door.getresponse()
        return answer, answer.read()

    answer, _ = ask(f"{link.path}?{link.query}", {})
    if answer.status != 303:
        sys.exit(f"the link does not sign in ({answer.status}): it is good once, make another")
    headers = {"Cookie": answer.getheader("set-cookie").split(";")[0], "Accept-Encoding": "gzip"}
    assets = sum(len(ask(f"/ui/assets/{name}", headers)[1]) for name in ("style.css", "live.js", "icon.svg"))
    if sys.argv[2:] == ["--reports"]:
        reports(ask, headers)
        return
    if paced:
        mixed(link, headers, float(sys.argv[3]), float(sys.argv[4]))
        return
    print(f"{'page':34} {'first ms':>8} {'p50 ms':>8} {'p95 ms':>8} {'bytes':>8} {'unpacked':>9}   (stylesheet, script and icon: {assets} bytes)")
    for page in PAGES:
        times = []
        for _ in range(count):
            began = time.perf_counter()
            answer, body = ask(page, headers)
            times.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                sys.exit(f"{page} answered {answer.status}")
        first, *times = times
        times.sort()
        whole = len(gzip.decompress(body)) if answer.getheader("content-encoding") == "gzip" else len(body)
        print(f"{page:34} {first:8.1f} {times[len(times) // 2]:8.1f} {times[int(len(times) * 0.95)]:8.1f} {len(body):8} {whole:9}")


def reports(ask, headers: dict[str, str]) -> None:
    """Each report of the catalogue, by its page."""
    plain = {"Cookie": headers["Cookie"]}
    paths = sorted(set(re.findall(r'href="(/ui/reports/[a-z0-9_]+)"', ask("/ui/reports", plain)[1].decode())))
    took = []
    for path in paths:
        began = time.perf_counter()
        answer, _ = ask(path, headers)
        took.append(((time.perf_counter() - began) * 1000, path.rsplit("/", 1)[1], answer.status))
        print(".", end="", file=sys.stderr, flush=True)
    took.sort(reverse=True)
    for ms, name, status in took:
        print(f"{name:34} {ms:9.1f} ms" + ("" if status == 200 else f"   answered {status}"))
    times = [ms for ms, _, _ in took]
    print(f"{len(times)} reports: {sum(ms < 1000 for ms in times)} within 1 s, {sum(ms < 100 for ms in times)} within 100 ms")


def mixed(link, headers: dict[str, str], rate: float, seconds: float) -> None:
    """Requests at a fixed pace, whether the answers before came or not; waiting for a free connection counts."""
    times, failed, lock = [], [], threading.Lock()
    begin, total, turn = time.perf_counter() + 0.5, int(rate * seconds), iter(range(int(rate * seconds)))

    def work() -> None:
        door = http.client.HTTPConnection(link.hostname, link.port, timeout=60)
        while True:
            with lock:
                number = next(turn, None)
            if number is None:
                return
            due = begin + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            door.request("GET", PAGES[number % len(PAGES)], headers=headers)
            answer = door.getresponse()
            answer.read()
            took = (time.perf_counter() - due) * 1000
            with lock:
                times.append(took)
                if answer.status != 200:
                    failed.append(answer.status)

    workers = [threading.Thread(target=work) for _ in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - begin
    times.sort()
    print(f"{total} requests in {took:.1f} s ({total / took:.0f}/s asked for {rate:.0f}/s), {len(failed)} failed: "
          f"p50 {times[len(times) // 2]:.1f} ms, p95 {times[int(len(times) * 0.95)]:.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f} ms")


if __name__ == "__main__":
    main()
