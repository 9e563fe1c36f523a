#!/usr/bin/env bash
# PostgreSQL itself as a client (postgres_fdw) against PGHOST, PGPORT, PGUSER, PGPASSWORD; PGBIN holds initdb and pg_ctl.
BIN=${PGBIN:-$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -1)}
[[ -x $BIN/initdb && -x $BIN/postgres ]] || { echo "skipped postgres_fdw: no PostgreSQL server"; exit 0; }
folder=$(mktemp -d); chmod 777 "$folder"
as() { if [[ $EUID -eq 0 ]]; then su postgres -s /bin/bash -c "$1"; else bash -c "$1"; fi; }
trap 'as "$BIN/pg_ctl -D $folder/data -m immediate stop" > /dev/null 2>&1; rm -rf "$folder"' EXIT
as "$BIN/initdb -D $folder/data -A trust -U local" > "$folder/log" 2>&1 \
  && as "$BIN/pg_ctl -D $folder/data -w -o '-p ${FDW_PORT:-15499} -k $folder -c listen_addresses=' -l $folder/server.log start" >> "$folder/log" 2>&1 \
  || { echo "skipped postgres_fdw: $(tail -1 "$folder/log")"; exit 0; }
local_sql() { PGPASSWORD= PGUSER=local PGHOST=$folder PGPORT=${FDW_PORT:-15499} psql -X -A -t -v ON_ERROR_STOP=1 -d postgres "$@" 2>&1; }
setup=$(local_sql -c "create extension postgres_fdw; create schema far;
  create server far foreign data wrapper postgres_fdw options (host '$PGHOST', port '$PGPORT', dbname 'revgauge', sslmode 'require', fetch_size '2');
  create user mapping for local server far options (user '$PGUSER', password '$PGPASSWORD');
  import foreign schema public limit to (deals) from server far into far;")
try() { # NAME EXPECTED-TEXT SQL
  local out; out=$(local_sql -c "$3")
  if [[ $out == *"$2"* ]]; then echo "ok postgres_fdw: $1"; else echo "FAIL postgres_fdw: $1: $(tr '\n' ' ' <<< "$setup $out" | cut -c1-140)"; fi
}
try 'import foreign schema' 'deals' "select relname from pg_class where relname = 'deals'"
try 'rows through a cursor' 'rows' "select count(*) || ' rows' from far.deals"
try 'a condition pushed down' 'rows' "select count(deal_id) || ' rows' from far.deals where status = 'open'"
