"""Settings: arguments first, then the environment, then a .env file from the current folder upwards."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ._errors import ConfigurationError

DEFAULT_API_URL = "http://127.0.0.1:8080"
# Each claim costs a commit, however many it brings: a worker with room for 200 drains a queue by a third faster
# than one with room for 100, with room for 300 not any more.
DEFAULT_MAX_CONCURRENT = 200
MAX_CONCURRENT = 100_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the server is and how to speak to it. The key is kept out of every repr."""

    api_url: str
    api_key: str | None = field(repr=False)
    worker_name: str
    max_concurrent: int


def load_settings(*, api_url: str | None = None, api_key: str | None = None) -> Settings:
    """Reads POLOS_API_URL, POLOS_API_KEY, POLOS_WORKER_NAME, POLOS_MAX_CONCURRENT, POLOS_ALLOW_HTTP."""
    values = _environment()
    key = _checked_key(api_key or values.get("POLOS_API_KEY") or None)
    url = _checked_url(
        api_url or values.get("POLOS_API_URL") or DEFAULT_API_URL,
        allow_http=key is None or values.get("POLOS_ALLOW_HTTP") == "1",
    )
    return Settings(
        api_url=url,
        api_key=key,
        worker_name=values.get("POLOS_WORKER_NAME") or default_worker_name(),
        max_concurrent=_whole_number(values.get("POLOS_MAX_CONCURRENT")),
    )


def _environment() -> dict[str, str]:
    """The .env file fills what the environment lacks. `os.environ` itself stays as it is."""
    from dotenv import dotenv_values, find_dotenv

    path = find_dotenv(usecwd=True)
    stored = dotenv_values(path) if path else {}
    return {name: value for name, value in stored.items() if value is not None} | dict(os.environ)


def _checked_key(key: str | None) -> str | None:
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError("POLOS_API_KEY holds characters that no API key has: was it copied whole?")
    return key


def _checked_url(url: str, *, allow_http: bool) -> str:
    parts = _split(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(
            "POLOS_API_URL is an address only, without a user, a query or a fragment; "
            "the key goes into POLOS_API_KEY."
        )
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"POLOS_API_URL is {url}: an API key would cross the network unencrypted. "
            "Use https, or set POLOS_ALLOW_HTTP=1 where the network itself is trusted."
        )
    return url.rstrip("/")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(f"POLOS_API_URL is {url!r}: expected an address like {DEFAULT_API_URL}.")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _whole_number(text: str | None) -> int:
    if not text:
        return DEFAULT_MAX_CONCURRENT
    return checked_max_concurrent(int(text) if text.isascii() and text.isdigit() else text)


def checked_max_concurrent(value: object) -> int:
    """How many executions a worker may run at once."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CONCURRENT:
        raise ConfigurationError(
            f"max_concurrent (POLOS_MAX_CONCURRENT) is a whole number from 1 to {MAX_CONCURRENT:,}, not {value!r}."
        )
    return value


def default_worker_name() -> str:
    """Host and script: the same after a restart, different for two programs on one machine."""
    script = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else ""
    return "/".join(part for part in (socket.gethostname(), script) if part)[:200]
