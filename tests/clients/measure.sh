#!/usr/bin/env bash
# Round trips of `select 1` on the PostgreSQL door (PGHOST, PGPORT, PGUSER, PGPASSWORD), and MB/s of Flight SQL (FLIGHT) for SQL.
# The key needs a rate of its own above 500 requests a second (`"rights": {"requests_per_second": 100000}`), or it is slowed down.
SQL=${SQL:-"SELECT * FROM events"}; SECONDS_EACH=${SECONDS_EACH:-10}; PYTHON=${PYTHON:-python3}
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
echo 'select 1' > "$folder/one.sql"
for protocol in simple prepared; do
  (cd "$folder" && PGDATABASE=revgauge pgbench -n -M $protocol -f one.sql -c 1 -T "$SECONDS_EACH" -l --log-prefix=$protocol > /dev/null 2>&1)
  sort -n -k3 "$folder"/$protocol.* | awk -v what="select 1, $protocol" '{ us[NR] = $3 } END {
    if (NR) printf "%s: %d round trips, p50 %.2f ms, p99 %.2f ms\n", what, NR, us[int(NR * 0.5) + 1] / 1000, us[int(NR * 0.99) + 1] / 1000
    else print what ": no round trip" }'
done
"$PYTHON" "$(dirname "$0")/flight_client.py" --measure "$SQL" 2> /dev/null
