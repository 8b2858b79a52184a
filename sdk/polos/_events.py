"""An event: a payload that is published under a topic."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ._batches import MAX_PAYLOAD_BYTES, check_request
from ._ids import new_id
from ._json import encode
from ._names import check_name

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[T]):
    """What was published under a topic, when (in UTC), and under which id."""

    id: str
    topic: str
    payload: T
    published_at: dt.datetime

    @property
    def data(self) -> T:
        """The payload, under the name that other systems have for it."""
        return self.payload


def read_event(data: Mapping[str, Any], payload: Any) -> Event[Any]:
    """The server's JSON, with the payload typed or as it was sent."""
    return Event(
        id=data["id"],
        topic=data["topic"],
        payload=payload,
        published_at=dt.datetime.fromisoformat(data["published_at"]),
    )


def event_body(topic: str, payload: Any, id: str | None, *, place: str) -> str:
    """A request that publishes; the id makes its repetition harmless."""
    check_name(topic, what="topic", place=place)
    what = f"The payload of event {topic}"
    return check_request(
        encode({"topic": topic, "payload": payload, "id": id or new_id()}, what), what, MAX_PAYLOAD_BYTES
    )
