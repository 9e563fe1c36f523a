#!/usr/bin/env bash
# psql against PGHOST, PGPORT, PGUSER, PGPASSWORD: one line per case, "ok NAME" or "FAIL NAME: reason".
try() { # NAME EXPECTED-TEXT ARGUMENTS...
  local name=$1 expected=$2 out; shift 2
  out=$(psql -X -A -t -v VERBOSITY=verbose -d revgauge "$@" 2>&1)
  if [[ $out == *"$expected"* ]]; then echo "ok $name"; else echo "FAIL $name: ${out//$'\n'/ }" | cut -c1-160; fi
}
try "select" 7 -c 'select 3 + 4'
try "several statements" 2 -c 'begin; select 2; commit'
try '\d' deals -c '\d'
try '\d deals' 'close_date' -c '\d deals'
try '\d+ deals' 'close_date' -c '\d+ deals'
try '\dt' 'Did not find' -c '\dt'
try '\dv' scores -c '\dv'
try '\dn' public -c '\dn'
try '\l' revgauge -c '\l'
try '\du' revgauge -c '\du'
try '\df' 'now' -c '\df now'
try '\dn+' public -c '\dn+'
try '\dv+' scores -c '\dv+'
try '\dp' deals -c '\dp'
try 'a comment' 'one row per deal' -c "select obj_description('deals'::regclass) union all select description from pg_description where objoid = 'deals'::regclass and objsubid = 0"
try 'prepare and execute' 42 -c 'prepare p (int) as select $1 + 1; execute p (41)'
try 'to_char' '2026-02 1,234.50' -c "select to_char(timestamp '2026-02-05', 'YYYY-MM') || ' ' || to_char(1234.5, 'FM9,999.00')"
try '\copy to stdout' 'a,b' -c '\copy (select 1 as a, 2 as b) to stdout csv header'
try 'cursor' '1' -c 'begin; declare c cursor for select 1; fetch 1 from c; close c; commit'
try 'writes are refused (25006)' 25006 -c 'drop table deals'
try 'server files are refused (42501)' 42501 -c "copy (select 1) to '/tmp/revgauge-must-not-exist'"
try 'syntax error (42601)' 42601 -c 'selec 1'
try 'unknown table (42P01)' 42P01 -c 'select * from nope'
try 'unknown column (42703)' 42703 -c 'select nope from deals'
try 'statement_timeout (57014)' 57014 -c "set statement_timeout = 200" -c 'select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b'
try 'settings do not leak' 0 -c 'show statement_timeout'
PGPASSWORD=wrong try 'wrong password' 'password authentication failed' -c 'select 1'
