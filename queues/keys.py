"""API keys: made once, shown once, stored as a hash; and who is calling, for every request of the REST API.

A key is `polos_<id>_<secret>`: the id finds its row, the secret proves it. What a key may do (`Principal`)
is kept in the process for three seconds, so a revoked key stops working everywhere within five.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple

import msgspec
import structlog
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest
from django.utils import timezone

from . import local_mode
from .access import covers
from .engine import get_engine
from .engine.statements import statement
from .models import ApiKey, Worker
from .names import pattern_problem
from .problems import Forbidden, Unauthorized

KEPT_SECONDS = 3.0
GRACE_SECONDS = 1.0  # while one request looks the key up again, the others go on with what was known
MAX_KEPT = 1_000

log = structlog.get_logger(__name__)
_KEY = re.compile(r"polos_([0-9a-f]{16})_([0-9a-f]{64})([0-9a-f]{8})")


# -- what a caller may do ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: a key, or anybody on this machine in local mode."""

    name: str  # of the key; empty in local mode
    scope: str = ApiKey.Scope.FULL
    patterns: tuple[str, ...] = ()  # empty: every queue
    local: bool = False

    @property
    def actor(self) -> str:
        return "local mode" if self.local else f"key {self.name}"

    def reaches(self, queue: str) -> bool:
        return not self.patterns or covers(self.patterns, queue)

    def may_enqueue(self, queue: str) -> bool:
        return self.scope != ApiKey.Scope.WORK and self.reaches(queue)

    def may_work(self, queue: str) -> bool:
        return self.scope != ApiKey.Scope.ENQUEUE and self.reaches(queue)

    def may_read(self, queue: str) -> bool:
        return self.may_enqueue(queue)

    def needs(self, *scopes: str) -> None:
        """Refuses a key whose scope does not cover what is asked, whatever the queue."""
        if self.scope not in scopes:
            raise Forbidden(f"This API key is for “{ApiKey.Scope(self.scope).label}”. Use another key for this.")


# -- making and revoking ---------------------------------------------------------------------------


class BadKey(ValueError):
    """Why a key cannot be made."""


def create_key(
    *, name: str, scope: str, patterns: Iterable[str], created_by: str, demo: bool = False
) -> tuple[ApiKey, str]:
    """A new key and its text, which nobody can see again."""
    patterns = list(patterns)
    _check(name, scope, patterns)
    key_id, secret = secrets.token_hex(8), secrets.token_hex(32)
    try:
        with transaction.atomic():
            key = ApiKey.objects.create(
                id=key_id, name=name, scope=scope, queue_patterns=patterns, created_by=created_by, demo=demo,
                secret_hash=_hash(secret),
            )  # fmt: skip
    except IntegrityError:
        raise BadKey(f"There is a key named {name} already. Choose another name.") from None
    forget()
    log.info("API key made", key=name, scope=scope, patterns=patterns, by=created_by)
    return key, f"polos_{key_id}_{secret}{_checksum(key_id, secret)}"


def revoke_key(key: ApiKey, *, actor: str) -> None:
    """Ends a key for good: here at once, on every other server within five seconds."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    forget()
    log.info("API key revoked", key=key.name, by=actor)


def warn_on_first_key() -> list[str]:
    """Names of the workers alive now that would lose access when the first key is made."""
    if not local_mode_on():
        return []
    workers = Worker.objects.filter(state__in=("alive", "draining"), lease_until__gt=timezone.now(), key_name="")
    return sorted(set(workers.values_list("name", flat=True)))


def local_mode_on() -> bool:
    """Whether callers on this machine need no key, for the start banner and the page's header."""
    return local_mode.allowed() and not ApiKey.objects.filter(demo=False).exists()


def _check(name: str, scope: str, patterns: list[str]) -> None:
    if not name.strip() or len(name) > 100 or "\0" in name:
        raise BadKey("A key has a name of at most 100 characters, so that people can tell keys apart.")
    if scope not in ApiKey.Scope.values:
        raise BadKey(f"A key's scope is one of {', '.join(ApiKey.Scope.values)}.")
    if problem := next(filter(None, map(pattern_problem, patterns)), None):
        raise BadKey(problem)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(key_id: str, secret: str) -> str:
    """Makes a mistyped or invented key fail without a look into the database."""
    return f"{zlib.crc32(f'{key_id}{secret}'.encode()):08x}"


# -- who is calling ----------------------------------------------------------------------------------


class _Row(NamedTuple):
    name: str
    scope: str
    patterns: str
    secret_hash: str
    revoked: bool
    unused: bool


_kept: dict[bytes, tuple[float, Principal | None]] = {}  # Authorization header → good until, who
_keyless: list[tuple[float, bool]] = []  # local mode's state and how long it is good; at most one
_background: set[asyncio.Task[None]] = set()


def forget() -> None:
    """Drops what this process knows about keys, so that a change counts here at once."""
    _kept.clear()
    _keyless.clear()


async def authenticate(scope: Mapping[str, Any]) -> Principal:
    """The caller of an ASGI request; raises `Unauthorized`."""
    header = _authorization(scope)
    if header is None:
        return _local_caller(scope, await _nobody_has_a_key())
    kept = _remembered(header)
    if kept is None:
        kept = _remember(header, await _look_up(_parsed(header)))
    return _known(kept)


def authenticate_request(request: HttpRequest) -> Principal:
    """The same for a synchronous Django view."""
    scope = scope_of(request)
    header = _authorization(scope)
    if header is None:
        return _local_caller(scope, local_mode.allowed() and not ApiKey.objects.filter(demo=False).exists())
    kept = _remembered(header)
    if kept is None:
        kept = _remember(header, _look_up_in_view(_parsed(header)))
    return _known(kept)


def _authorization(scope: Mapping[str, Any]) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value)
    return None


def _remembered(header: bytes) -> tuple[float, Principal | None] | None:
    kept = _kept.get(header)
    if kept is None or kept[0] > monotonic():
        return kept
    _kept[header] = (monotonic() + GRACE_SECONDS, kept[1])
    return None


def _remember(header: bytes, principal: Principal | None) -> tuple[float, Principal | None]:
    if len(_kept) >= MAX_KEPT:
        _kept.clear()
    kept = _kept[header] = (monotonic() + KEPT_SECONDS, principal)
    return kept


def _known(kept: tuple[float, Principal | None]) -> Principal:
    if kept[1] is None:
        raise Unauthorized("The API key is unknown or revoked.")
    return kept[1]


def _parsed(header: bytes) -> tuple[str, str]:
    kind, _, text = header.decode("latin-1").partition(" ")
    match = _KEY.fullmatch(text.strip())
    if kind.lower() != "bearer" or not match or _checksum(match[1], match[2]) != match[3]:
        raise Unauthorized("Send the API key as “Authorization: Bearer polos_…”, complete and unchanged.")
    return match[1], match[2]


async def _look_up(key: tuple[str, str]) -> Principal | None:
    key_id, secret = key
    async with get_engine().connection() as conn:
        cursor = await conn.execute(statement("find_key"), {"id": key_id})
        row = await cursor.fetchone()
    found = _proved(row, secret)
    if found and found.unused:
        _in_background(_touch(key_id))
    return _principal(found)


def _look_up_in_view(key: tuple[str, str]) -> Principal | None:
    key_id, secret = key
    with connection.cursor() as cursor:
        cursor.execute(statement("find_key"), {"id": key_id})
        found = _proved(cursor.fetchone(), secret)
        if found and found.unused:
            cursor.execute(statement("touch_key"), {"id": key_id})
    return _principal(found)


def _proved(row: tuple[Any, ...] | None, secret: str) -> _Row | None:
    found = _Row(*row) if row else None
    if found is None or not hmac.compare_digest(found.secret_hash, _hash(secret)):
        return None
    return None if found.revoked else found


def _principal(row: _Row | None) -> Principal | None:
    if row is None:
        return None
    patterns = msgspec.json.decode(row.patterns, type=tuple[str, ...])
    return Principal(name=row.name, scope=row.scope, patterns=patterns)


async def _touch(key_id: str) -> None:
    try:
        async with get_engine().connection() as conn:
            await conn.execute(statement("touch_key"), {"id": key_id})
    except Exception as error:  # only a date for people: no request may fail for it
        log.warning("could not note the use of a key", error=str(error))


def _in_background(work: Any) -> None:
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_background.discard)


# -- local mode --------------------------------------------------------------------------------------


async def _nobody_has_a_key() -> bool:
    if not local_mode.allowed():
        return False
    if not _keyless or _keyless[0][0] < monotonic():
        async with get_engine().connection() as conn:
            cursor = await conn.execute(statement("any_key"))
            row = await cursor.fetchone()
        _keyless[:] = [(monotonic() + KEPT_SECONDS, not (row and row[0]))]
    return _keyless[0][1]


def _local_caller(scope: Mapping[str, Any], on: bool) -> Principal:
    if not on:
        raise Unauthorized(
            "Send an API key: “Authorization: Bearer polos_…”. An admin makes keys in the admin pages."
        )
    if refusal := local_mode.refusal(scope):
        raise Unauthorized(f"Without an API key, {refusal}.")
    return Principal(name="", local=True)


def scope_of(request: HttpRequest) -> dict[str, Any]:
    meta = request.META
    return {
        "headers": [(n.lower().encode(), v.encode("latin-1", "replace")) for n, v in request.headers.items()],
        "client": (meta.get("REMOTE_ADDR", ""), 0),
        "server": (meta.get("SERVER_NAME", ""), int(meta.get("SERVER_PORT") or 80)),
    }
