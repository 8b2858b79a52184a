from __future__ import annotations

import shutil
from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase
from psycopg.conninfo import make_conninfo
from pytest_django import DjangoDbBlocker

from polos_web.embedded import EmbeddedPostgres
from tests import environment

# What migrations fill is left alone: groups, permissions, content types.
_KEPT = ("django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions")


@pytest.fixture(scope="session", autouse=True)
def _data_dir() -> Iterator[None]:
    yield
    shutil.rmtree(environment.DATA_DIR, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(_data_dir: None) -> Iterator[None]:
    """One embedded PostgreSQL for the whole run, unless DATABASE_URL names another one."""
    if settings.DATABASE_URL:
        yield
        return
    with EmbeddedPostgres(settings.POLOS_DATA_DIR, settings={"fsync": "off"}).running():
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    settings.POLOS_DSN = make_conninfo(settings.POLOS_DSN, dbname=connection.settings_dict["NAME"])
    # Django's own would also empty what migrations filled, the roles among it.
    TransactionTestCase._fixture_teardown = lambda _: _empty_tables()  # type: ignore[attr-defined]


@pytest.fixture
def dsn(clean_db: None) -> str:
    """For connections of your own to the test database, which is empty but for what migrations fill."""
    return str(settings.POLOS_DSN)


@pytest.fixture
def clean_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Real commits, seen by every connection, and gone after the test."""
    with django_db_blocker.unblock():
        yield
        connection.close()
        _empty_tables()


def _empty_tables() -> None:
    with psycopg.connect(str(settings.POLOS_DSN), autocommit=True) as db:
        names = db.execute(
            "select tablename::text from pg_tables where schemaname = 'public' and tablename <> all(%s)",
            (list(_KEPT),),
        ).fetchall()
        tables = psycopg.sql.SQL(", ").join(psycopg.sql.Identifier(name) for (name,) in names)
        db.execute(psycopg.sql.SQL("truncate {} restart identity").format(tables))
