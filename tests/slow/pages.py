#!/usr/bin/env python3
"""How long the server takes for each page of the dashboards, and how much it sends.

Usage: pages.py SIGN_IN_URL [REQUESTS_PER_PAGE]     (`revgauge demo` or `revgauge users link` prints the URL)

Asks each page in turn, one at a time, with gzip as a browser does; prints median, p95 and transferred bytes.
"""

import gzip
import http.client
import sys
import time
from urllib.parse import urlsplit

PAGES = [
    "/ui/forecast", "/ui/deals", "/ui/deals?view=list", "/ui/leads", "/ui/accounts", "/ui/contacts", "/ui/team",
    "/ui/coaching", "/ui/tv", "/ui/reports", "/ui/reports/pipeline_by_stage", "/ui/saved", "/ui/sql", "/ui/data",
]


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    link, count = urlsplit(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 50
    door = http.client.HTTPConnection(link.hostname, link.port, timeout=60)

    def ask(path: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        door.request("GET", path, headers=headers)
        answer = door.getresponse()
        return answer, answer.read()

    answer, _ = ask(f"{link.path}?{link.query}", {})
    if answer.status != 303:
        sys.exit(f"the link does not sign in ({answer.status}): it is good once, make another")
    headers = {"Cookie": answer.getheader("set-cookie").split(";")[0], "Accept-Encoding": "gzip"}
    assets = sum(len(ask(f"/ui/assets/{name}", headers)[1]) for name in ("style.css", "live.js", "icon.svg"))
    print(f"{'page':34} {'p50 ms':>8} {'p95 ms':>8} {'bytes':>8} {'unpacked':>9}   (stylesheet, script and icon: {assets} bytes)")
    for page in PAGES:
        times = []
        for _ in range(count):
            began = time.perf_counter()
            answer, body = ask(page, headers)
            times.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                sys.exit(f"{page} answered {answer.status}")
        times.sort()
        whole = len(gzip.decompress(body)) if answer.getheader("content-encoding") == "gzip" else len(body)
        print(f"{page:34} {times[len(times) // 2]:8.1f} {times[int(len(times) * 0.95)]:8.1f} {len(body):8} {whole:9}")


if __name__ == "__main__":
    main()
