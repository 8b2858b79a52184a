"""Who keeps PostgreSQL from cleaning up is told to admins, with since when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from django.test import Client

from queues import vacuum
from queues.engine.statements import statement

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def unseen() -> Iterator[None]:
    vacuum.learn([], NOW)
    yield
    vacuum.learn([], NOW)


def minutes_ago(number: int) -> dt.datetime:
    return NOW - dt.timedelta(minutes=number)


def test_an_old_transaction_is_found_with_who_and_since_when(db: None) -> None:
    dsn = str(settings.POLOS_DSN)
    with psycopg.connect(dsn, application_name="report") as old, psycopg.connect(dsn, autocommit=True) as other:
        old.execute("declare c cursor for select 1")  # holds its snapshot
        rows = other.execute(statement("vacuum_pins").encode(), {"seconds": 0.0}).fetchall()
    assert any(kind == "transaction" and "application report" in who for kind, who, _, _ in rows)


def test_admins_are_told_on_the_list_and_nobody_else(ana: Client, vera: Client) -> None:
    vacuum.learn([("transaction", "process 7, user etl", minutes_ago(25), "811")], NOW)
    html = ana.get("/").content.decode()
    assert (
        "PostgreSQL cannot clean up" in html and "process 7, user etl" in html and "pg_terminate_backend" in html
    )
    assert "cannot clean up" not in vera.get("/").content.decode()


def test_a_slot_counts_from_when_its_pin_was_first_seen() -> None:
    slot = ("replication slot", "standby, physical, inactive", None, "811")
    vacuum.learn([slot], minutes_ago(20))
    assert vacuum.pins() == []
    vacuum.learn([slot], NOW)
    assert [pin.since for pin in vacuum.pins()] == [minutes_ago(20)]
    vacuum.learn([(*slot[:3], "812")], NOW)  # it moves on
    assert vacuum.pins() == []


def test_the_oldest_comes_first_and_what_is_over_is_forgotten() -> None:
    rows = [("transaction", "a", minutes_ago(11), "1"), ("prepared transaction", "b", minutes_ago(90), "2")]
    vacuum.learn(rows, NOW)
    assert [pin.who for pin in vacuum.pins()] == ["b", "a"]
    assert all(pin.remedy for pin in vacuum.pins())
    vacuum.learn(rows[:1], NOW)
    assert [pin.who for pin in vacuum.pins()] == ["a"]
