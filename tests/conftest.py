from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg.conninfo import make_conninfo

from polos_web.embedded import EmbeddedPostgres
from tests import servers
from tests.servers import Server, StartServer

# A busy machine is no fault of what is tested.
hypothesis_settings.register_profile("polos", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("polos")

# What migrations fill is left alone: groups, permissions, content types.
_KEPT = ("django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions")

# Who learns that a table is empty, after a test, plans for that in the next one, which fills it.
WITHOUT_VACUUM = """
do $$
declare
    name text;
begin
    for name in select quote_ident(tablename) from pg_tables where schemaname = 'public' loop
        execute 'alter table ' || name || ' set (autovacuum_enabled = off)';
    end loop;
end $$
"""
# Truncating makes new files for every table and index, which takes ten times as long as deleting a few rows.
EMPTY = """
do $$
declare
    names text[] := array(
        select quote_ident(tablename) from pg_tables where schemaname = 'public' and tablename <> all({kept})
    );
    name text;
begin
    if (select sum(pg_relation_size(each::regclass)) from unnest(names) each) > 1000000 then
        execute 'truncate ' || array_to_string(names, ', ');
    else
        foreach name in array names loop
            execute 'delete from ' || name;
        end loop;
    end if;
    perform setval(sequencename::regclass, start_value, false)
        from pg_sequences where schemaname = 'public' and replace(sequencename, '_id_seq', '') <> all({kept});
end $$
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="tests under load take more executions, and minutes")


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> Iterator[None]:
    """One embedded PostgreSQL for the whole run, unless DATABASE_URL names another one."""
    if settings.DATABASE_URL:
        yield
        return
    with EmbeddedPostgres(settings.POLOS_DATA_DIR, settings={"fsync": "off"}).running():
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    settings.POLOS_DSN = make_conninfo(settings.POLOS_DSN, dbname=connection.settings_dict["NAME"])
    with psycopg.connect(str(settings.POLOS_DSN), autocommit=True) as db:
        db.execute(WITHOUT_VACUUM)
    # Django's own would also empty what migrations filled, the roles among it.
    TransactionTestCase._fixture_teardown = lambda _: _empty_tables()  # type: ignore[attr-defined]


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartServer]:
    """Starts real servers, stopped after the test: `server()` with data of its own and in local mode,
    `server(dsn=dsn)` on the test database, where callers need a key."""
    if "dsn" in request.fixturenames:
        request.getfixturevalue("dsn")  # first, so that it is emptied last: a server that runs would fill it again
    started: list[Server] = []

    def start(
        *options: str, dsn: str | None = None, env: Mapping[str, str] | None = None, fresh: bool = False
    ) -> Server:
        more = {"DATABASE_URL": servers.url_of(dsn)} if dsn else {}
        launched = servers.launch(tmp_path / "data", *options, env={**more, **(env or {})}, fresh=fresh)
        started.append(launched)
        return launched.wait_until_ready()

    yield start
    for one in reversed(started):
        one.stop()


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that only need one: data of its own, local mode."""
    launched = servers.launch(tmp_path_factory.mktemp("live") / "data", fresh=True)
    try:
        yield launched.wait_until_ready()
    finally:
        launched.stop()


@pytest.fixture(scope="session")
def live_server_url(running_server: Server) -> str:
    return running_server.url


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser of the machine. Tests that need one are skipped where there is none, but in CI they fail."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("no Chromium on this machine")
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found


@pytest.fixture
def dsn(clean_db: None) -> Iterator[str]:
    """For connections of your own to the test database, which is empty but for what migrations fill. Afterwards no
    execution contradicts itself."""
    from queues.engine.statements import statement

    yield str(settings.POLOS_DSN)
    with psycopg.connect(str(settings.POLOS_DSN), autocommit=True) as db:
        assert db.execute(statement("contradictions").encode()).fetchall() == []


@pytest.fixture
def clean_db(transactional_db: None) -> None:
    """Real commits, seen by every connection, and gone after the test."""


def _empty_tables() -> None:
    with psycopg.connect(str(settings.POLOS_DSN), autocommit=True) as db:
        db.execute(psycopg.sql.SQL(EMPTY).format(kept=psycopg.sql.Literal(list(_KEPT))))
