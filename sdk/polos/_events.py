"""An event: a payload that is published under a topic."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ._batches import MAX_PAYLOAD_BYTES, check_request
from ._ids import new_id
from ._json import encode
from ._names import check_name

T = TypeVar("T")
TYPE = "event_type"


class EventNames:
    """What an event is called elsewhere: in code that was written for `polos-sdk`."""

    __slots__ = ()
    id: str
    payload: Any
    published_at: dt.datetime

    @property
    def data(self) -> Any:
        """The payload, without what is said under `event_type`."""
        if self.event_type is None:
            return self.payload
        return {name: value for name, value in self.payload.items() if name != TYPE}

    @property
    def event_type(self) -> str | None:
        """What the payload says under `event_type`, if it does."""
        kind = self.payload.get(TYPE) if isinstance(self.payload, dict) else None
        return kind if isinstance(kind, str) else None

    @property
    def created_at(self) -> dt.datetime:
        return self.published_at

    @property
    def sequence_id(self) -> int:
        """A number that no other event has. For the order, look at `published_at`."""
        return uuid.UUID(self.id).int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(EventNames, Generic[T]):
    """What was published under a topic, when (in UTC), and under which id."""

    id: str
    topic: str
    payload: T
    published_at: dt.datetime


def typed_payload(data: Any, event_type: str | None) -> Any:
    """The payload of an event that has a type; ValueError where it could not be kept."""
    if event_type is None:
        return data
    if not isinstance(data, dict | None):
        raise ValueError(f"event_type is kept in the data of an event, which is a dict then, not {data!r:.100}")
    return {**(data or {}), TYPE: event_type}


def workflow_topic(root_id: str) -> str:
    """Of what an execution and its children publish with `publish_workflow_event`."""
    return f"workflow/{root_id}"


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
