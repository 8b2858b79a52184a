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

_TAKERS = re.compile(r"\( -- takers\n.*\), -- of takers\n", re.DOTALL)
_SEATS = re.compile(r"seats as materialized \(\n.*\), -- of seats\n", re.DOTALL)
_SEATED = re.compile(r"\(select .* from seats .*\) as c -- seated\n")
_ONE_TAKER = """(
    select (%(capacities)s::int[])[1] as total
    where (%(workers)s::uuid[])[1] = any(string_to_array(current_setting('polos.begun', true), ',')::uuid[])
),
"""


@cache
def claim_statement(*, alone: bool, from_floors: bool) -> str:
    """`alone`: for one worker, as most are."""
    text = statement("claim")
    text = for_one(text) if alone else text
    return picking_from_floors(text) if from_floors else text


def for_one(claim: str) -> str:
    """A tenth less: nothing is dealt to workers."""
    claim = _TAKERS.sub(_ONE_TAKER, claim)
    return _SEATED.sub("(select c.*, 1 as taker from chosen c) as c\n", _SEATS.sub("", claim))


def picking_from_floors(claim: str) -> str:
    """Picking from the floors on, and what came back to a place under them (`raise_floors`). It finds the same;
    looking for floors costs claims under a limit a few per cent, so it is left to when it helps."""
    return _PICK.sub(_FROM_FLOORS.format(columns=_COLUMNS), claim)
