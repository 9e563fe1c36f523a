"""Recomputing the engagement statistics from the lake: our SQL door against DuckDB, same SQL, same Parquet files, one run.

usage: batch_peer.py BINARY STORE   (a store that an import has filled; the server is started here)
"""
import os
import sys
import time

import duckdb
from deltalake import DeltaTable

import node as harness

binary, store = sys.argv[1:3]
INNER = """
SELECT tenant_id, coalesce(contact_id, email) AS contact_key,
  CAST(floor(extract(epoch FROM event_time) / 126230400) AS BIGINT) AS era, type, direction, machine_class, count(*) AS n,
  sum(power(2.0, (extract(epoch FROM event_time) - 126230400.0 * floor(extract(epoch FROM event_time) / 126230400)) / 259200.0)) AS s_days_3,
  sum(power(2.0, (extract(epoch FROM event_time) - 126230400.0 * floor(extract(epoch FROM event_time) / 126230400)) / 1209600.0)) AS s_days_14,
  sum(power(2.0, (extract(epoch FROM event_time) - 126230400.0 * floor(extract(epoch FROM event_time) / 126230400)) / 2592000.0)) AS s_days_30,
  sum(power(2.0, (extract(epoch FROM event_time) - 126230400.0 * floor(extract(epoch FROM event_time) / 126230400)) / 5184000.0)) AS s_days_60,
  sum(coalesce(value, 0.0)) AS value_sum, max(value) AS value_max, max(coalesce(account_id, domain)) AS account_key,
  max(email) AS email, min(event_time) AS first_time, max(event_time) AS last_time
FROM {source} WHERE kind = 'engagement' AND coalesce(contact_id, email) IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6"""
OUTER = "SELECT count(*) AS groups, sum(n) AS n, sum(s_days_14) AS s14, max(last_time) AS last FROM ({inner}) AS stats"

limits = {
    "REVGAUGE__API__SQL__MEMORY_BYTES": str(8 << 30), "REVGAUGE__API__SQL__TIMEOUT_MS": "300000",
    "REVGAUGE__API__SQL__MAX_TIMEOUT_MS": "300000", "REVGAUGE__API__SQL__PARTITIONS": "2",
    "REVGAUGE__API__HTTP__TIMEOUT_MS": "300000",
}
harness.TENANT = os.environ.get("REVGAUGE_TENANT", harness.TENANT)
node = harness.Node(binary, store, env=limits)
node.start()
# The live files of the Delta log: compacted ones stay on disk for a while.
files = [name.removeprefix("file://") for name in DeltaTable(f"{store}/lake/events").file_uris()]
peer = duckdb.connect()
peer.execute("SET threads TO 2")
for round_number in range(3):
    started = time.time()
    ours = node.sql(OUTER.format(inner=INNER.format(source="events")))[0]
    ours_s = time.time() - started
    started = time.time()
    theirs = peer.execute(OUTER.format(inner=INNER.format(source=f"read_parquet({files})"))).fetchone()
    theirs_s = time.time() - started
    print(f"round {round_number + 1}: revgauge {ours_s:.2f} s {list(ours.values())}, duckdb {theirs_s:.2f} s {theirs}, "
          f"ratio {ours_s / theirs_s:.2f}")
node.stop()
