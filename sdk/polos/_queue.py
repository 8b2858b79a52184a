"""Queues as code declares them: a name and a limit."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from ._errors import DefinitionError, QueueConflict
from ._names import MAX_PLACE_LENGTH, check_limit, check_name


class _NotGiven(Enum):
    """Where None means something ("unlimited"), this one means that nothing was said."""

    NOT_GIVEN = "not given"


NOT_GIVEN: Final = _NotGiven.NOT_GIVEN
Limit = int | None
MaybeLimit = int | _NotGiven | None


@dataclass(frozen=True, slots=True)
class Queue:
    """A named line with a limit, shared by all who use the name. None = unlimited, 0 = nothing starts."""

    name: str
    concurrency_limit: int | None = None
    place: str = field(default="", compare=False, repr=False)  # file:line of the declaration

    def __post_init__(self) -> None:
        place = self.place or _caller()
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


def file_and_line(filename: str, line: int) -> str:
    """A place in code, relative to the current folder where that is shorter."""
    path = Path(filename)
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}:{line}"[-MAX_PLACE_LENGTH:]


def _inline(option: Mapping[str, object], *, workflow_id: str, place: str) -> Mention:
    unknown = sorted(str(key) for key in option if key not in ("name", "concurrency_limit"))
    if unknown:
        raise DefinitionError(f"{place}: queue={{...}} takes name and concurrency_limit, not {', '.join(unknown)}")
    name = check_name(option.get("name", workflow_id), what="queue", place=place)
    limit = check_limit(option.get("concurrency_limit"), what=f"queue {name}", place=place)
    return Mention(name, limit, place)


def _words(limit: MaybeLimit) -> str:
    return "unlimited" if limit is None else f"limit {limit}"


def _caller() -> str:
    """The first frame outside this package and outside what the dataclass made."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return file_and_line(frame.f_code.co_filename, frame.f_lineno)
