#!/usr/bin/env python3
"""Readers of the lake itself: DuckDB, polars and deltalake count the events in the Delta table of STORE (a folder)."""
import os

TABLE = os.path.join(os.path.abspath(os.environ["STORE"]), "lake", "events")


def duckdb_delta():
    import duckdb
    from duckdb_extensions import import_extension

    import_extension("delta")
    return duckdb.connect().execute(f"load delta; select count(*) from delta_scan('{TABLE}')").fetchone()[0]


def polars_delta():
    import polars

    return polars.scan_delta(TABLE).select(polars.len()).collect().item()


def deltalake_delta():
    import deltalake

    return deltalake.DeltaTable(TABLE).to_pyarrow_table().num_rows


counts = {}
for client, count in [("DuckDB (delta)", duckdb_delta), ("polars (scan_delta)", polars_delta),
                      ("deltalake", deltalake_delta)]:
    try:
        counts[client] = count()
    except ImportError as error:
        print(f"skipped {client}: {error}")
    except Exception as error:
        print(f"FAIL {client}: reads the lake: {' '.join(str(error).split())[:120]}")
for client, count in counts.items():
    same = count == max(counts.values()) and count > 0
    print(f"ok {client}: reads the lake" if same else f"FAIL {client}: reads the lake: {count} rows, others {counts}")
