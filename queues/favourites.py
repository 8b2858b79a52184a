"""Queues that a person keeps at hand."""

from __future__ import annotations

from typing import Any

from .models import Favourite


def of(user_id: Any) -> frozenset[int]:
    """Ids of queues."""
    return frozenset(Favourite.objects.filter(user_id=user_id).values_list("queue_id", flat=True))


def keep(user_id: Any, queue_id: int, kept: bool) -> None:
    """May be repeated: twice kept is kept once."""
    if kept:
        Favourite.objects.bulk_create([Favourite(user_id=user_id, queue_id=queue_id)], ignore_conflicts=True)
    else:
        Favourite.objects.filter(user_id=user_id, queue_id=queue_id).delete()
