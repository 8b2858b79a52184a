"""What an execution waits for right now, for its page. Nothing here writes or locks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import F, TextField
from django.db.models.functions import Cast

from . import reads
from .access import EVERYWHERE, Sight
from .models import FINAL, Execution, Status, Wait

MOST_SHOWN = 10  # executions of one wait
MOST_WAITS = 50


@dataclass(frozen=True, slots=True)
class Awaited:
    """One wait that is not over. `left` of its `count` executions are not final, the first of them in `rows`."""

    wait: Any  # with `note_text`
    count: int
    left: int
    rows: list[reads.Row]


def waits(execution: Execution, sight: Sight = EVERYWHERE) -> list[Awaited]:
    """Nothing while it does not wait."""
    if execution.status != Status.WAITING or execution.token is None:
        return []
    found = (
        Wait.objects.filter(execution_id=execution.id, token=execution.token, over_at=None)
        .defer("answer", "note")
        .annotate(note_text=Cast(F("note"), TextField()))
        .order_by("since", "key")
    )
    return [_awaited(wait, sight) for wait in found[:MOST_WAITS]]


def _awaited(wait: Any, sight: Sight) -> Awaited:
    if not wait.executions:
        return Awaited(wait, 0, 0, [])
    unfinished = Execution.objects.filter(id__in=wait.executions).exclude(status__in=FINAL).order_by("id")
    first = list(unfinished.values_list("id", flat=True)[:MOST_SHOWN])
    return Awaited(wait, len(wait.executions), unfinished.count(), reads.executions(first, sight)[::-1])
