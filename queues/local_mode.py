"""Local mode: on a developer's own machine, callers need no key until somebody makes the first one.

Every web page in the same browser can send requests to this machine too. None of them may pass for a local
worker: `refusal` checks where a request comes from, whom it addresses and what it is made of.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_FORWARDED = (b"forwarded", b"x-forwarded-", b"x-real-ip")


def allowed() -> bool:
    """Decided at start: loopback address, embedded PostgreSQL, no public URL, no allowed hosts."""
    return bool(getattr(settings, "POLOS_LOCAL_MODE_ALLOWED", False))


def refusal(scope: Mapping[str, Any]) -> str | None:
    """Why this request does not count as local, as the end of a sentence; None when it does."""
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    own = _own_hosts(scope)
    if not _is_loopback(scope.get("client")):
        return "requests must come from this machine"
    if any(name.startswith(_FORWARDED) for name, _ in headers):
        return "requests must not come through a proxy"
    if _only(headers, b"host") not in own:
        return f"requests must address this server as {own[0]}"
    if _only(headers, b"origin") not in (None, *(f"http://{host}" for host in own)):
        return "requests must not come from another web page"
    if _only(headers, b"sec-fetch-site") not in (None, "same-origin", "none"):
        return "requests must not come from another web page"
    if _has_body(headers) and (_only(headers, b"content-type") or "").split(";")[0].strip() != "application/json":
        return "requests must be sent with “Content-Type: application/json”"
    return None


def _own_hosts(scope: Mapping[str, Any]) -> list[str]:
    port = (scope.get("server") or (None, None))[1] or settings.POLOS_PORT
    hosts = [f"{name}:{port}" for name in _LOOPBACK_NAMES]
    return [*hosts, *_LOOPBACK_NAMES] if port == 80 else hosts


def _is_loopback(client: Iterable[Any] | None) -> bool:
    try:
        address = ipaddress.ip_address(next(iter(client or ()), ""))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _only(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    """The value of a header, in lower case; of one that is sent twice both, which equals nothing allowed."""
    values = [value.decode("latin-1").strip().lower() for name, value in headers if name == wanted]
    return ", ".join(values) if values else None


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return _only(headers, b"content-length") not in (None, "0") or _only(headers, b"transfer-encoding") is not None
