"""Queues as code declares them: a name and a limit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ._errors import DefinitionError, QueueConflict
from ._names import check_limit, check_name
from ._places import caller


class _NotGiven(Enum):
    """Where None means something ("unlimited"), this one means that nothing was said."""

    NOT_GIVEN = "not given"


NOT_GIVEN: Final = _NotGiven.NOT_GIVEN
Limit = int | None
MaybeLimit = int | _NotGiven | None
MaybeSeconds = float | dt.timedelta | _NotGiven | None


@dataclass(frozen=True, slots=True)
class Queue:
    """A named line with a limit, shared by all who use the name. None = unlimited, 0 = nothing starts."""

    name: str
    concurrency_limit: int | None = None
    place: str = field(default="", compare=False, repr=False)  # file:line of the declaration

    def __post_init__(self) -> None:
        place = self.place or caller()
        object.__setattr__(self, "place", place)
        check_name(self.name, what="queue", place=place)
        check_limit(self.concurrency_limit, what=f"queue {self.name}", place=place)


def queue(name: str, concurrency_limit: int | None = None) -> Queue:
    """Declares a queue. At most `concurrency_limit` of its executions run at once, wherever they run."""
    return Queue(name, concurrency_limit)


QueueOption = Queue | Mapping[str, object] | str | None


@dataclass(frozen=True, slots=True)
class Mention:
    """What one workflow says about its queue. A name alone says nothing about the limit."""

    name: str
    limit: MaybeLimit
    place: str


def read_queue_option(option: QueueOption, *, workflow_id: str, place: str) -> Mention:
    """The three forms of `@workflow(queue=...)`, and none at all: a queue of its own, unlimited."""
    if option is None:
        return Mention(workflow_id, None, place)
    if isinstance(option, Queue):
        return Mention(option.name, option.concurrency_limit, option.place)
    if isinstance(option, str):
        return Mention(check_name(option, what="queue", place=place), NOT_GIVEN, place)
    if isinstance(option, Mapping):
        return _inline(option, workflow_id=workflow_id, place=place)
    raise DefinitionError(
        f'{place}: queue= is a Queue, a name, or {{"concurrency_limit": n}}, not {type(option).__name__}'
    )


def check_agreement(mentions: Iterable[Mention]) -> list[Mention]:
    """One mention per queue, the one that states a limit if any does; QueueConflict when two disagree."""
    by_name: dict[str, Mention] = {}
    for mention in mentions:
        known = by_name.setdefault(mention.name, mention)
        if mention.limit is NOT_GIVEN:
            continue
        if known.limit is NOT_GIVEN:
            by_name[mention.name] = mention
        elif known.limit != mention.limit:
            raise QueueConflict(
                f"Queue {mention.name} is declared twice in this worker: {_words(known.limit)} at {known.place}, "
                f"{_words(mention.limit)} at {mention.place}. Declare it once and use the object."
            )
    return list(by_name.values())


def _inline(option: Mapping[str, object], *, workflow_id: str, place: str) -> Mention:
    unknown = sorted(str(key) for key in option if key not in ("name", "concurrency_limit"))
    if unknown:
        raise DefinitionError(f"{place}: queue={{...}} takes name and concurrency_limit, not {', '.join(unknown)}")
    name = check_name(option.get("name", workflow_id), what="queue", place=place)
    limit = check_limit(option.get("concurrency_limit"), what=f"queue {name}", place=place)
    return Mention(name, limit, place)


def _words(limit: MaybeLimit) -> str:
    return "unlimited" if limit is None else f"limit {limit}"
