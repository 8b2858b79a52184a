"""The schema and the code belong together: older is migrated, newer is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from .problems import Problem

_LOCK = 0x706F6C6F73  # "polos": one server migrates, those that start with it wait
_OLDEST_POSTGRES = 140000


def pending() -> list[str]:
    """Names of the migrations that the database lacks. Refuses a database that is newer than the code."""
    executor = MigrationExecutor(connection)
    applied, known = set(executor.loader.applied_migrations), set(executor.loader.graph.nodes)
    unknown = sorted(f"{app}.{name}" for app, name in applied - known if app in executor.loader.migrated_apps)
    if unknown:
        raise Problem(
            f"The database is newer than this polos-server: it has the migration {unknown[-1]}. "
            "Install the version that made it, or use another database."
        )
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def migrate() -> list[str]:
    """Brings the schema up to date, one server at a time; returns what was applied."""
    with one_at_a_time():
        missing = pending()
        if missing:
            try:
                call_command("migrate", interactive=False, verbosity=0)
            except Error as error:
                raise Problem(f"The database refuses a migration: {first_line(error)}") from error
        return missing


@contextmanager
def one_at_a_time() -> Iterator[None]:
    with connect() as lock:
        lock.execute("select pg_advisory_lock(%s::bigint)", (_LOCK,))
        yield


def connect() -> psycopg.Connection:
    """A connection, or a sentence that says why there is none."""
    try:
        conn = psycopg.connect(settings.POLOS_DSN, autocommit=True, application_name="polos-start")
    except psycopg.OperationalError as error:
        raise Problem(_unreachable(error)) from None
    if conn.info.server_version < _OLDEST_POSTGRES:
        conn.close()
        raise Problem("DATABASE_URL leads to a PostgreSQL older than 14. Use PostgreSQL 14 or newer.")
    return conn


def _unreachable(error: psycopg.OperationalError) -> str:
    place = "the embedded PostgreSQL"
    if settings.DATABASE_URL:
        parts = psycopg.conninfo.conninfo_to_dict(settings.POLOS_DSN)
        place = f"the database {parts.get('dbname')} on {parts.get('host') or 'this machine'}"
        place += f", port {parts['port']}" if parts.get("port") else ""
    return f"Cannot connect to {place}: {first_line(error)}. Start it, or correct DATABASE_URL."


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].rstrip(".")
