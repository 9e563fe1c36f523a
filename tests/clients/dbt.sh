#!/usr/bin/env bash
# dbt against PGHOST, PGPORT, PGUSER, PGPASSWORD; DBT is the command. debug, show and docs work; building is refused.
DBT=${DBT:-dbt}
command -v "$DBT" > /dev/null || { echo "skipped dbt: not installed"; exit 0; }
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
mkdir "$folder/models"
cat > "$folder/dbt_project.yml" <<Y
name: revgauge
version: '1.0'
profile: revgauge
model-paths: ["models"]
Y
cat > "$folder/profiles.yml" <<Y
revgauge:
  target: dev
  outputs:
    dev: {type: postgres, host: "$PGHOST", port: $PGPORT, user: "$PGUSER", password: "$PGPASSWORD", dbname: revgauge, schema: public, threads: 1, sslmode: require}
Y
cat > "$folder/models/sources.yml" <<Y
version: 2
sources:
  - {name: revgauge, schema: public, tables: [{name: deals}]}
Y
echo "select stage, count(*) as n from {{ source('revgauge', 'deals') }} group by 1" > "$folder/models/deals_by_stage.sql"
try() { # NAME EXPECTED-TEXT ARGUMENTS...
  local name=$1 expected=$2 out; shift 2
  out=$(cd "$folder" && "$DBT" --no-use-colors "$@" --profiles-dir . 2>&1)
  if [[ $out == *"$expected"* ]]; then echo "ok dbt: $name"; else echo "FAIL dbt: $name: $(tail -3 <<< "$out" | tr '\n' ' ' | cut -c1-140)"; fi
}
try debug 'All checks passed' debug
try show 'stage' show --inline "select stage, count(*) as n from {{ source('revgauge', 'deals') }} group by 1"
try 'docs' 'Catalog written' docs generate --empty-catalog
try 'catalogue for docs' 'Catalog written' docs generate --no-compile
try 'building a model is refused' 'this door only reads' run
