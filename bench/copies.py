"""Copies logged runs many times, within MLflow's SQLite database; nothing but Python is needed.

`python3 copies.py DATABASE COPIES RUN...`. MLflow itself wrote these runs, so each copy has the
rows that MLflow would have written for it; its id and the place of its artifacts are its own.
"""

import sqlite3
import sys
from collections.abc import Sequence

TABLES = ("runs", "tags", "latest_metrics", "metrics")
CHANGED = {"run_uuid": "id", "artifact_uri": "replace(artifact_uri, source, id)"}


def copy(database: str, copies: int, runs: Sequence[str]) -> None:
    connection = sqlite3.connect(database, timeout=60)
    with connection:
        connection.execute("CREATE TEMP TABLE made (source TEXT, id TEXT)")
        connection.executemany(
            "INSERT INTO made VALUES (?, lower(hex(randomblob(16))))",
            [(run,) for run in runs] * copies,
        )
        for table in TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            values = [CHANGED.get(column, column) for column in columns]
            connection.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "  # noqa: S608
                f"FROM made CROSS JOIN {table} ON run_uuid = source"
            )
    connection.close()


if __name__ == "__main__":
    copy(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
