"""The socket behind the live pages: who may watch, how much they may say, and for how long.

A socket lives for hours, so being let in once proves little: every half minute all sockets of this process are
checked together, and those of people who signed out, were deactivated, lost their role or changed their password
are closed. Message handlers never touch the ORM.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth import HASH_SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.utils import timezone

from .access import EVERYWHERE, Sight, sights
from .live import Ids, Sampler, Watcher, get_sampler

CHECK_EVERY = 30.0  # seconds; a person who signed out is gone within a minute
MOST_SOCKETS = 30  # of one person, on one server
MOST_BYTES = 4_096
MOST_PER_SECOND, BURST = 8.0, 16.0
MOST_SHOWN = 200  # queues on one list

# Close codes. The page reloads on the first two: then signing in, or the reason, is what it shows.
SIGNED_OUT, NO_ROLE, TOO_MANY, TOO_SLOW, TOO_BIG, TOO_OFTEN = 4401, 4403, 4429, 4408, 1009, 1008
# The page comes back, and looks again at what it may see.
GOING, OTHER_RIGHTS = 4012, 4013

log = logging.getLogger(__name__)


class _Said(msgspec.Struct, frozen=True):
    """What a browser may say: what it watches, or which frame it has shown."""

    watch: str = ""
    name: str = ""
    ids: Annotated[list[int], msgspec.Meta(max_length=MOST_SHOWN)] | None = None  # of the queues on a list
    seen: int | None = None


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """One socket. Registered with the sampler directly: a channel layer would only be slower."""

    watcher: Watcher | None = None
    writer: asyncio.Task[None] | None = None
    sight: Sight = EVERYWHERE

    async def connect(self) -> None:
        if not _origin(self.scope):
            await self.close()  # before `accept`: answered with 403. Foreign origins do not get this far
            return
        await self.accept()  # first, so that the page learns why it is closed again
        code = await self._refusal()
        if code:
            await self.close(code)
            return
        self.identity = _Identity.of(self.scope)
        self.words = _Allowance()
        sockets.add(self)

    async def _refusal(self) -> int | None:
        user = self.scope.get("user")
        if not (user and user.is_authenticated):
            return SIGNED_OUT
        self.sight = await database_sync_to_async(_sight_of)(user.pk)
        if self.sight.nowhere:
            return NO_ROLE
        return TOO_MANY if sockets.of_person(user.pk) >= MOST_SOCKETS else None

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self not in sockets:
            return
        if text_data is None or len(text_data) > MOST_BYTES:
            await self.close(TOO_BIG)
        elif not self.words.take():
            await self.close(TOO_OFTEN)
        else:
            await self._understand(text_data)

    async def _understand(self, text: str) -> None:
        try:
            said = msgspec.json.decode(text, type=_Said)
        except msgspec.DecodeError:
            await self.close(TOO_OFTEN)
            return
        if said.seen is not None and self.watcher:
            self.watcher.seen(said.seen)
        elif said.watch == "queue":
            self._watch(said.name, None)
        elif said.watch == "queues":
            self._watch_list(None if said.ids is None else frozenset(said.ids))

    def _watch_list(self, ids: Ids | None) -> None:
        if self.watcher and self.watcher.queue is None:
            self._sampler().show(self.watcher, ids)
        else:
            self._watch(None, ids)

    def _watch(self, queue: str | None, ids: Ids | None) -> None:
        self._leave()
        sampler = self._sampler()
        self.watcher = Watcher(self._send_text, queue=queue, ids=ids, sight=self.sight, stats=sampler.stats)
        self.writer = asyncio.create_task(self.watcher.write())
        sampler.join(self.watcher)

    async def disconnect(self, code: int) -> None:
        sockets.discard(self)
        self._leave()

    def _leave(self) -> None:
        if self.watcher:
            self._sampler().leave(self.watcher)
        if self.writer:
            self.writer.cancel()
        self.watcher = self.writer = None

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        sockets.discard(self)
        self._leave()
        await super().close(code, reason)

    def _sampler(self) -> Sampler:
        return get_sampler()

    async def _send_text(self, text: str) -> None:
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            await self.send(text_data=text)


# -- who they are ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Identity:
    """What must still hold for a socket to stay: the session is there, and was made with today's password."""

    user_id: Any
    session_key: str
    session_hash: str

    @classmethod
    def of(cls, scope: dict[str, Any]) -> _Identity:
        session = scope["session"]
        return cls(scope["user"].pk, session.session_key or "", session.get(HASH_SESSION_KEY, ""))


class _Allowance:
    """Eight messages a second, sixteen at once: four frames seen, and a list that changes while one types."""

    def __init__(self) -> None:
        self._left, self._at = BURST, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * MOST_PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _origin(scope: dict[str, Any]) -> str:
    """Every browser sends it; which ones are ours is checked around this consumer."""
    value = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
    return "" if value == "null" else value


# -- all sockets of this process -------------------------------------------------------------------


class Sockets(set[LiveConsumer]):
    """The sockets that were let in, and the task that asks every half minute who may stay."""

    _checker: asyncio.Task[None] | None = None

    def add(self, consumer: LiveConsumer) -> None:
        super().add(consumer)
        if self._checker is None or self._checker.done() or self._checker.get_loop() is not _loop():
            self._checker = asyncio.create_task(self._check_again_and_again())

    def of_person(self, user_id: Any) -> int:
        return sum(consumer.identity.user_id == user_id for consumer in self)

    async def check(self) -> None:
        """Closes the sockets of those who may not watch any more, or who have stopped reading."""
        all_of_them = [(consumer, consumer.identity) for consumer in self]
        # Not plain sync_to_async: that would keep a connection for ever, also one that the database has ended.
        codes, seen = await database_sync_to_async(_look_up)([identity for _, identity in all_of_them])
        for consumer, identity in all_of_them:
            if code := codes.get(identity):
                await consumer.close(code)
            elif seen[identity.user_id] != consumer.sight:
                await consumer.close(OTHER_RIGHTS)
            elif consumer.watcher and not consumer.watcher.reads():
                await consumer.close(TOO_SLOW)

    async def close_all(self) -> None:
        """The server stops: pages come back to another one, or to this one after its restart."""
        for consumer in list(self):
            await consumer.close(GOING)

    async def _check_again_and_again(self) -> None:
        while self:
            await asyncio.sleep(CHECK_EVERY)
            try:
                await self.check()
            except DatabaseError as error:  # nobody can be checked: asked again in half a minute
                log.warning("could not check who may watch: %s", error)


def _look_up(identities: list[_Identity]) -> tuple[dict[_Identity, int], dict[Any, Sight]]:
    """Close codes for those who may not stay, and what each person may see. A few queries for all."""
    users = {user.pk: user for user in get_user_model().objects.filter(pk__in={i.user_id for i in identities})}
    seen = sights(users)
    alive = _living_sessions({identity.session_key for identity in identities})
    found = {}
    for identity in identities:
        user = users.get(identity.user_id)
        if not _signed_in(identity, user, alive):
            found[identity] = SIGNED_OUT
        elif seen[identity.user_id].nowhere:
            found[identity] = NO_ROLE
    return found, seen


def _sight_of(user_id: Any) -> Sight:
    return sights([user_id]).get(user_id, Sight(()))


def _signed_in(identity: _Identity, user: Any, alive: set[str]) -> bool:
    if user is None or not user.is_active or identity.session_key not in alive:
        return False
    return bool(user.get_session_auth_hash() == identity.session_hash)


def _living_sessions(keys: set[str]) -> set[str]:
    alive = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    return set(alive.values_list("session_key", flat=True))


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


sockets = Sockets()
