"""The statement of a claim, in the forms that it is flown in: of `sql/claim.sql`, which is for several workers."""

from __future__ import annotations

import re
from functools import cache

from .statements import statement

_PICK = re.compile(r"cross join lateral \( -- pick\n(.*)\) as e -- picked", re.DOTALL)
_COLUMNS = "x.ctid as at, x.place, x.id, x.released_at is not null as again"
_FROM_FLOORS = """left join lateral (
    select f.place from queues_floor f where f.queue_id = r.queue_id and f.workflow = p.workflow offset 0
) as f on true
cross join lateral (
    select * from (
        select {columns}
        from queues_execution x
        where x.queue_id = r.queue_id and x.workflow = p.workflow and x.status = 'queued'
            and x.place >= coalesce(f.place, '-infinity')
        order by x.place, x.id
        limit r.room
        for no key update skip locked
    ) as line
    union all
    select * from (
        select {columns}
        from queues_execution x
        where x.queue_id = r.queue_id and x.workflow = p.workflow and x.status = 'queued'
            and x.place < f.place and (x.attempt > 0 or x.place < x.enqueued_at or x.due_at is not null)
        order by x.place, x.id
        limit r.room
        for no key update skip locked
    ) as early
) as e"""

_TAKERS = re.compile(r"taker as materialized \( -- takers\n.*\), -- of takers\n", re.DOTALL)
_SEATS = re.compile(r"seats as materialized \(\n.*\), -- of seats\n", re.DOTALL)
_SEATED = re.compile(r"\(select .* from seats .*\) as c -- seated\n")
_ONE_TAKER = """taker as (
    select (%(capacities)s::int[])[1] as total
    where (%(workers)s::uuid[])[1] = any(string_to_array(current_setting('polos.begun', true), ',')::uuid[])
),
"""
_TRIED = re.compile(r"select \* from unnest\(%\(queues\).*as t \(queue_id, first, last\)\n")
_OURS = re.compile(r"ours as materialized \(\n.*\), -- of ours\n", re.DOTALL)
_LINES = re.compile(r"from unnest\(\(%\(workflows\)s.* as p \(workflow\)\n")
_FIRST_OF_LINES = re.compile(r" *order by e\.place, e\.id -- of all lines\n *limit r\.room\n")
_DEALT = re.compile(r"\n *select dealt\.\*, .*\) as dealt\n", re.DOTALL)
_ONE_DEALT = """
    select p.queue_id, p.slot_generation, p.free, e.at, e.again, e.n, cardinality(p.ats) as found, e.n as k
    from picked p
    cross join lateral unnest(p.ats, p.agains) with ordinality as e (at, again, n)
"""


@cache
def claim_statement(*, alone: bool, one_line: bool, from_floors: bool) -> str:
    """`alone`: for one worker, as most are. `one_line`: on one queue, which it serves with one workflow."""
    return in_form(statement("claim"), alone=alone, one_line=one_line, from_floors=from_floors)


def in_form(claim: str, *, alone: bool, one_line: bool, from_floors: bool) -> str:
    claim = for_one(claim) if alone else claim
    if from_floors:
        return picking_from_floors(claim)
    return from_one_line(claim) if alone and one_line else claim


def for_one(claim: str) -> str:
    """A tenth less: nothing is dealt to workers."""
    claim = _TAKERS.sub(_ONE_TAKER, claim)
    return _SEATED.sub("(select c.*, 1 as taker from chosen c) as c\n", _SEATS.sub("", claim))


def from_one_line(claim_for_one: str) -> str:
    """A tenth less of PostgreSQL's work at limit 5: nothing is dealt in turn, and no lines are brought together. A
    claim of a few costs what setting up its steps costs."""
    claim = _TRIED.sub("select (%(queues)s::bigint[])[1] as queue_id, 1 as first, 1 as last\n", claim_for_one)
    claim = _OURS.sub("", claim).replace("        cross join ours o\n", "")
    for ours in ("locked", "shared"):
        claim = claim.replace(f"any(o.{ours})", f"any(current_setting('polos.{ours}')::bigint[])")
    claim = _LINES.sub("from (select (%(workflows)s::text[])[1] as workflow) as p\n", claim)
    return _DEALT.sub(_ONE_DEALT, _FIRST_OF_LINES.sub("", claim))


def picking_from_floors(claim: str) -> str:
    """Picking from the floors on, and what came back to a place under them (`raise_floors`). It finds the same;
    looking for floors costs claims under a limit a few per cent, so it is left to when it helps."""
    return _PICK.sub(_FROM_FLOORS.format(columns=_COLUMNS), claim)
