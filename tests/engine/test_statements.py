"""Every statement is understood by PostgreSQL: EXPLAIN finds typos, lost columns and parameters without a type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import queues
from queues.engine.claims import claim_statement
from queues.engine.database import SESSION
from queues.engine.flight import _plan
from queues.engine.statements import statement
from tests.races.interleavings import Stage

NAMES = sorted(path.stem for path in (Path(queues.__file__).parent / "sql").glob("*.sql"))


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_can_be_planned_without_knowing_its_parameters(name: str, dsn: str) -> None:
    text = statement(name)
    values = dict.fromkeys(re.findall(r"%\((\w+)\)s", text))
    with psycopg.connect(dsn) as db:
        db.execute("select set_config('polos.locked', '{}', true), set_config('polos.shared', '{}', true)")
        db.execute(f"explain {text}".encode(), values or None)


@pytest.mark.parametrize("alone", [True, False])
def test_the_claim_from_floors_is_planned_with_both_of_its_indexes(dsn: str, alone: bool) -> None:
    text = claim_statement(alone=alone, one_line=alone, from_floors=True)
    with psycopg.connect(dsn) as db:
        db.execute("select set_config('polos.locked', '{}', true), set_config('polos.shared', '{}', true)")
        db.execute("set enable_seqscan = off")
        plan = str(
            db.execute(f"explain {text}".encode(), dict.fromkeys(re.findall(r"%\((\w+)\)s", text))).fetchall()
        )
    assert "execution_ready" in plan and "execution_early" in plan and "queues_floor" in plan


LEFT = """
insert into queues_worker (
    id, name, host, sdk_version, max_concurrent, state, key_name, registered_at, heartbeat_at, lease_until,
    claim_seq
)
select gen_random_uuid(), 'w', '', '', 100, 'left', '', now(), now(), now(), '{1,0}' from generate_series(1, 3000)
"""
FINAL = "update queues_execution set status = 'completed', finished_at = now()"


@pytest.mark.parametrize("past", [(), ("vacuum analyze",), (LEFT, "analyze"), (FINAL, "vacuum analyze")])
def test_an_exchange_reads_no_index_as_a_whole_that_holds_what_was(dsn: str, past: tuple[str, ...]) -> None:
    """An index over what is queued or held looks tiny, and may be full of what was while vacuum is kept away. The
    same with what a worker's row was."""
    Stage(dsn, limit=5, waiting=300).worker()
    names = ("begin_claims", "finish_completed", "renew_slots", "raise_floors", "enqueue_children")
    texts = {name: statement(name) for name in names}
    texts |= {
        f"claim {form}": claim_statement(**form, from_floors=from_floors)
        for form in (
            {"alone": True, "one_line": True},
            {"alone": True, "one_line": False},
            {"alone": False, "one_line": False},
        )
        for from_floors in (True, False)
    }
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(SESSION)
        db.execute("select set_config('polos.locked', '{}', false), set_config('polos.shared', '{}', false)")
        for each in past:
            db.execute(each.encode())
        for name, text in texts.items():
            for scan in scans(generic_plan(db, text)):
                index = scan.get("Index Name", "")
                assert "Index Cond" in scan or not index.startswith("execution_"), f"{name}: {scan}"
                of_workers = index.startswith(("worker_", "queues_worker"))
                assert index == "worker_newest" or not of_workers, f"{name}: {scan}"
                assert scan.get("Relation Name") != "queues_worker" or index, f"{name}: {scan}"


def generic_plan(db: psycopg.Connection[Any], text: str) -> dict[str, Any]:
    plan = _plan(text)
    db.execute(b"prepare asked as " + plan.text)
    nulls = ", ".join(["null"] * len(plan.parameters))
    row = db.execute(f"explain (format json) execute asked({nulls})".encode()).fetchone()
    db.execute("deallocate asked")
    assert row is not None
    return dict(row[0][0]["Plan"])


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Index Name" in plan or plan["Node Type"] == "Seq Scan":
        yield plan
    for each in plan.get("Plans", ()):
        yield from scans(each)


def test_no_placeholder_stands_inside_quotes() -> None:
    for name in NAMES:
        quoted = re.findall(r"'[^']*'", statement(name))
        assert not [text for text in quoted if re.search(r"%\(\w+\)s", text)], name


def test_a_claim_for_one_worker_deals_nothing_out() -> None:
    text = claim_statement(alone=True, one_line=False, from_floors=False)
    assert not re.search(r"seats|sum\(t\.capacity\)|as t \(worker", text)
    assert "seats" in claim_statement(alone=False, one_line=False, from_floors=False)


def test_a_claim_from_one_line_brings_no_lines_together() -> None:
    text = claim_statement(alone=True, one_line=True, from_floors=False)
    for taken_out in ("seats", "ours", "dealt", "unnest(%", "r.first:", "order by e.", "row_number"):
        assert taken_out in statement("claim")
        assert taken_out not in text


def test_no_check_is_read_in_every_statement_of_an_exchange(dsn: str) -> None:
    hot = "('queues_execution'::regclass, 'queues_worker'::regclass)"
    with psycopg.connect(dsn) as db:
        assert (
            db.execute(f"select conname from pg_constraint where contype = 'c' and conrelid in {hot}").fetchall()
            == []
        )
