"""What this process believes about where work is ready: hints, never truth.

A claim tries only queues that a hint names, so its cost does not grow with the number of queues. Hints come from
what this process commits, from notifications of the others, and from a slow poll that finds whatever was missed.
A hint that turns out wrong costs one statement; a missing one costs at most one poll.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from uuid import UUID

MOST_CANDIDATES = 64  # queues tried by one claim
FEW_CANDIDATES = 8  # however little it may take: a hint can be wrong
NEWER = 0.1  # weight of the newest claim in what a queue is expected to have


@dataclass(slots=True)
class Member:
    """A worker that this process has talked to, and the (queue, workflow) pairs that it serves."""

    id: UUID
    pairs: dict[int, list[str]]  # queue id → workflows
    generation: int = 0  # that its row had, at least (`begin_claims`)
    seen: float = field(default_factory=time.monotonic)  # its last exchange here
    held: dict[UUID, int] = field(default_factory=dict)  # given out here and not handed in yet: its queue
    parents: dict[UUID, UUID] = field(default_factory=dict)  # of those of them that have one

    def takes_back(self, ids: Sequence[UUID]) -> tuple[list[int | None], dict[UUID, UUID]]:
        """These are handed in: the queue of each, if given out here, and the parents of those that have one.
        Asked once for each, since to hash a UUID costs as much as to decode one."""
        queues = [self.held.pop(id, None) for id in ids]
        return queues, {id: self.parents.pop(id) for id in ids if id in self.parents} if self.parents else {}

    def keeps(self, ids: Sequence[UUID], queues: Iterable[int | None], parents: Mapping[UUID, UUID]) -> None:
        """What `takes_back` said, of results that were not handed in after all: they come again."""
        self.held.update((id, queue_id) for id, queue_id in zip(ids, queues, strict=True) if queue_id is not None)
        self.parents.update(parents)


@dataclass(slots=True)
class Board:
    """`ready` maps a queue to the workflows that may have queued executions, and when that was last said."""

    ready: dict[int, dict[str, int]] = field(default_factory=dict)
    full: set[int] = field(default_factory=set)
    busy: set[int] = field(default_factory=set)  # locked by another server: somebody waits for them already
    served: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    _room_said: dict[int, int] = field(default_factory=dict)
    _clock: int = 0
    _expected: float = 1.0  # executions that a queue which is tried has for a claim

    def now(self) -> int:
        """A moment to compare hints with: what was said after it survives `settle`."""
        self._clock += 1
        return self._clock

    def serve(self, member: Member) -> None:
        for queue_id, workflows in member.pairs.items():
            self.served[queue_id].update(workflows)

    def keep(self, members: Collection[Member]) -> None:
        """Forgets queues that none of these workers serves, or something would stay of every queue that ever had
        work. Whoever comes is told of its queues."""
        served: defaultdict[int, set[str]] = defaultdict(set)
        for member in members:
            for queue_id, workflows in member.pairs.items():
                served[queue_id].update(workflows)
        self.served = served
        self.ready = {queue_id: known for queue_id, known in self.ready.items() if queue_id in served}
        self._room_said = {queue_id: said for queue_id, said in self._room_said.items() if queue_id in served}
        self.full.intersection_update(served)

    def say_work(self, queue_id: int, workflows: Iterable[str]) -> None:
        moment = self.now()
        known = self.ready.setdefault(queue_id, {})
        for workflow in workflows:
            known[workflow] = moment

    def say_room(self, queue_id: int) -> None:
        self._room_said[queue_id] = self.now()
        self.full.discard(queue_id)

    def say_anything(self, queue_id: int) -> None:
        """Something about the queue changed, here or on another server."""
        self.say_room(queue_id)
        self.say_work(queue_id, self.served.get(queue_id, ()))

    def candidates(self, member: Member, capacity: int = MOST_CANDIDATES) -> list[int]:
        """Queues worth a try for this worker; those returned go to the back, so that all get their turn.

        No more than are likely to fill its capacity: a queue costs a claim as much as an execution or two.
        """
        most = min(MOST_CANDIDATES, max(FEW_CANDIDATES, ceil(capacity / self._expected)))
        fewer = member.pairs if len(member.pairs) <= len(self.ready) else self.ready
        found = list(islice((q for q in fewer if self._may_find(q, member)), most))
        for queue_id in found:
            self.ready[queue_id] = self.ready.pop(queue_id)
            member.pairs[queue_id] = member.pairs.pop(queue_id)
        return found

    def had_turn(self, member: Member, queues: Iterable[int]) -> None:
        """These gave something: the others that were tried come before them the next time. A claim begins with the
        first, and of a worker that asks for one at a time the last ones would never get any."""
        for queue_id in queues:
            if (known := self.ready.pop(queue_id, None)) is not None:
                self.ready[queue_id] = known
            if (workflows := member.pairs.pop(queue_id, None)) is not None:
                member.pairs[queue_id] = workflows

    def note_found(self, queues: int, found: int) -> None:
        """A claim tried so many queues, and might have got so many executions."""
        if queues:
            self._expected += NEWER * (max(1.0, found / queues) - self._expected)

    def has_candidate(self, member: Member) -> bool:
        fewer = member.pairs if len(member.pairs) <= len(self.ready) else self.ready
        return any(self._may_find(queue_id, member) for queue_id in fewer)

    def _may_find(self, queue_id: int, member: Member) -> bool:
        workflows = self.ready.get(queue_id)
        if not workflows or queue_id in self.full or queue_id in self.busy:
            return False
        served = member.pairs.get(queue_id)
        return served is not None and any(workflow in workflows for workflow in served)

    def settle(self, queue_id: int, *, since: int, empty_for: Iterable[str] = (), full: bool = False) -> None:
        """A claim that began at `since` found nothing (more) here, or no room."""
        if full and self._room_said.get(queue_id, 0) < since:
            self.full.add(queue_id)
        known = self.ready.get(queue_id)
        if known is None:
            return
        for workflow in empty_for:
            if known.get(workflow, since) < since:
                del known[workflow]
        if not known:
            del self.ready[queue_id]
