"""One embedded PostgreSQL for all contestants, with its usual, durable settings; a fresh database for each run."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from polos_web import embedded

OWN_SESSIONS = """
    select pg_terminate_backend(pid, 5000) from pg_stat_activity
    where datname = %s and usename = current_user
"""


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        parts = conninfo_to_dict(embedded.dsn(folder))
        parts.pop("connect_timeout")  # asyncpg would take it for a setting of the server
        self._admin = make_conninfo("", **parts)

    def dsn(self, database: str) -> str:
        return make_conninfo(self._admin, dbname=database)

    def create(self, name: str, template: str = "template1") -> str:
        self._run("create database {} template {}", name, template)
        return self.dsn(name)

    def drop(self, name: str) -> None:
        # Not `with (force)`, which gives up on an autovacuum worker: that one belongs to somebody else.
        with psycopg.connect(self._admin, autocommit=True) as db:
            db.execute(OWN_SESSIONS, (name,))
        self._run("drop database if exists {}", name)

    @contextmanager
    def fresh(self, template: str) -> Iterator[str]:
        """The conninfo of a copy of the template; the copy is gone afterwards."""
        name = f"run_{secrets.token_hex(4)}"
        dsn = self.create(name, template)
        try:
            yield dsn
        finally:
            self.drop(name)

    def processes(self) -> list[Any]:
        postmaster = int((self.folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
        return [psutil.Process(postmaster), *psutil.Process(postmaster).children()]

    def settings(self) -> dict[str, str]:
        names = ["server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers"]
        with psycopg.connect(self._admin) as db:
            found = db.execute("select name, setting from pg_settings where name = any(%s)", (names,))
            return dict(found.fetchall())

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._admin, autocommit=True) as db:
            db.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def running() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="polos-benchmarks-"))
    try:
        with embedded.EmbeddedPostgres(folder).running():
            yield Cluster(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settle(dsn: str) -> None:
    """After the fill, for everybody alike: what follows is measured, not autovacuum, nor the kernel's writing of
    what was filled."""
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("vacuum (analyze)")
    os.sync()
