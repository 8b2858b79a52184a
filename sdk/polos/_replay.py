"""Replay: the function runs again from the top, and its finished steps give back what they gave before.

Steps are found by their keys, so the order may change, and steps may be added behind what is done. What must not
happen is that a step that is done is done again under another name. Before the first new step of an attempt we
look whether earlier attempts went on differently from here.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ._errors import DuplicateStep, StepError, StepsChanged
from ._places import file_and_line

MAX_KEY = 200
TURNS = 10  # of the event loop, for tasks side by side to ask for what is stored: they do not wait for anything

Place = tuple[str, int]  # file and line
Listing = Callable[[], Awaitable[list[dict[str, Any]] | None]]


class Replay:
    """What earlier attempts of one execution stored, and what this one has asked for."""

    __slots__ = ("_checked", "_is_past", "asked", "changed", "over", "stored", "unused")

    def __init__(self, stored: dict[str, Any], over: dict[str, Any] | None = None) -> None:
        self.stored = stored
        self.over = over or {}  # waits that are over and not stored yet: what the server says of them
        self.asked: dict[str, Place] = {}
        self.changed: StepsChanged | None = None  # from then on there is no other step
        self.unused = {*stored, *self.over}
        self._checked = False
        self._is_past = False  # it has asked for something new

    @property
    def goes_over(self) -> bool:
        """Whether this attempt is where earlier ones have been: all its steps were stored, and more are."""
        return bool(self.unused) and not self._is_past

    def ask(self, key: str, place: Place, execution_id: str) -> bool:
        """Notes that the code asks for a step. Whether it is stored."""
        if self.changed is not None:
            raise StepsChanged(f"{self.changed}. Nothing else is done in this attempt")
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
            raise StepError(f"A step's key is a text of 1 to {MAX_KEY} characters, not {key!r:.250}")
        if key in self.asked:
            raise DuplicateStep(
                f"The step key {key!r} is used twice in execution {execution_id}: at {shown(self.asked[key])} and "
                f"at {shown(place)}. Give each step its own, in a loop for example by adding the index"
            )
        self.asked[key] = place
        self.unused.discard(key)
        self._is_past = self._is_past or (key not in self.stored and key not in self.over)
        return key in self.stored

    async def check_new(self, key: str, *, alone: Callable[[], bool], listing: Listing) -> None:
        """Before the first new step of an attempt: StepsChanged when earlier attempts surely went on differently.

        Only what is sure is refused. Tasks side by side finish in any order; a step that failed and was caught
        may have led elsewhere; so may the number of the attempt, for code that looks at it.
        """
        first, self._checked = not self._checked, True
        if not first or not await self._left_over() or not alone():
            return
        steps = await listing()
        if steps is not None and (missed := self._missed(key, steps)):
            raise StepsChanged(self._changed(key, missed))

    def unused_in_words(self) -> str:
        """What is worth a warning when an execution completes; empty when all that is stored was asked for."""
        if not self.unused:
            return ""
        words = f"completed without asking for the finished {_steps(self.unused)}: was the code changed?"
        new = [f"{key!r} at {shown(place)}" for key, place in self.asked.items() if key not in self.stored]
        return f"{words} New in this attempt: {', '.join(new[:5])}." if new else words

    async def _left_over(self) -> bool:
        for _ in range(TURNS):
            if not self.unused:
                return False
            await asyncio.sleep(0)
        return bool(self.unused)

    def _missed(self, key: str, steps: list[dict[str, Any]]) -> list[str]:
        """Stored steps that came after all that was asked for so far, while this one never ran."""
        ended = {key: dt.datetime.fromisoformat(wait["at"]) for key, wait in self.over.items()}
        ended |= {step["key"]: _time(step) for step in steps if not step.get("error")}
        if any(step["key"] == key for step in steps):
            return []  # it failed before: what follows may be what its failure led to
        so_far = [ended.get(each) for each in self.asked if each != key]
        if None in so_far:
            return []
        latest = max((time for time in so_far if time is not None), default=dt.datetime.min.replace(tzinfo=dt.UTC))
        return [each for each, time in ended.items() if each in self.unused and time >= latest]

    def _changed(self, key: str, missed: list[str]) -> str:
        before = [each for each in self.asked if each != key]
        after = f"after {before[-1]!r} " if before else "first of all "
        return (
            f"The step {key!r} at {shown(self.asked[key])} is new here: {after}earlier attempts finished "
            f"{_steps(missed)}, which this code has not asked for by then. It was not called, lest something is "
            "done twice. Give a renamed step its old key, put a new one behind what is done, or begin anew"
        )


def shown(place: Place) -> str:
    return file_and_line(*place)


def _steps(keys: Iterable[str]) -> str:
    known = sorted(keys)
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return f"{'step' if len(known) == 1 else 'steps'} {', '.join(map(repr, known[:5]))}{more}"


def _time(step: dict[str, Any]) -> dt.datetime:
    return dt.datetime.fromisoformat(step["ended_at"])
