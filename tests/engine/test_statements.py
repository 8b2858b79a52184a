"""Every statement is understood by PostgreSQL: EXPLAIN finds typos, lost columns and parameters without a type."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

import queues
from queues.engine.claims import claim_statement
from queues.engine.statements import statement

NAMES = sorted(path.stem for path in (Path(queues.__file__).parent / "sql").glob("*.sql"))


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_can_be_planned_without_knowing_its_parameters(name: str, dsn: str) -> None:
    text = statement(name)
    values = dict.fromkeys(re.findall(r"%\((\w+)\)s", text))
    with psycopg.connect(dsn) as db:
        db.execute("select set_config('polos.locked', '', true), set_config('polos.shared', '', true)")
        db.execute(f"explain {text}".encode(), values or None)


@pytest.mark.parametrize("alone", [True, False])
def test_the_claim_from_floors_is_planned_with_both_of_its_indexes(dsn: str, alone: bool) -> None:
    text = claim_statement(alone=alone, from_floors=True)
    with psycopg.connect(dsn) as db:
        db.execute("select set_config('polos.locked', '', true), set_config('polos.shared', '', true)")
        db.execute("set enable_seqscan = off")
        plan = str(
            db.execute(f"explain {text}".encode(), dict.fromkeys(re.findall(r"%\((\w+)\)s", text))).fetchall()
        )
    assert "execution_ready" in plan and "execution_early" in plan and "queues_floor" in plan


def test_no_placeholder_stands_inside_quotes() -> None:
    for name in NAMES:
        quoted = re.findall(r"'[^']*'", statement(name))
        assert not [text for text in quoted if re.search(r"%\(\w+\)s", text)], name


def test_a_claim_for_one_worker_deals_nothing_out() -> None:
    text = claim_statement(alone=True, from_floors=False)
    assert not re.search(r"seats|sum\(t\.capacity\)|as t \(worker", text)
    assert "seats" in claim_statement(alone=False, from_floors=False)


def test_no_check_is_read_in_every_statement_of_an_exchange(dsn: str) -> None:
    hot = "('queues_execution'::regclass, 'queues_worker'::regclass)"
    with psycopg.connect(dsn) as db:
        assert (
            db.execute(f"select conname from pg_constraint where contype = 'c' and conrelid in {hot}").fetchall()
            == []
        )
