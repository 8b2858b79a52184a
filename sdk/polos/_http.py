"""JSON over HTTP: retries with backoff, outages told once, nothing followed, nothing unbounded."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ._batches import MAX_REQUEST_BYTES
from ._errors import ServerUnavailable, refused
from ._json import decode
from ._settings import Settings
from ._version import __version__
from ._wire import Answer, Broken, TooLong, Wire

logger = logging.getLogger("polos")

MAX_RESPONSE = 256 * 1024 * 1024  # a claim of 1,000 payloads of 256 KiB
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
LONGEST_RETRY_AFTER = 60.0
TRY_LATER = (408, 429, 500, 502, 503, 504)  # 408: proxies say it on a kept connection before they close it


class Unreachable(Exception):
    """One try without a useful answer; another one may help."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Http:
    """One server, one pool of connections. Every request may be repeated: the ids in it make that harmless."""

    def __init__(self, settings: Settings) -> None:
        self.api_url = settings.api_url
        self.outages = Outages(settings.api_url)
        self._prefix = f"{urlsplit(settings.api_url).path.rstrip('/')}/api/v1"
        self._wire = Wire(settings.api_url, _headers(settings.api_key), most=MAX_RESPONSE)

    async def call(
        self,
        method: str,
        path: str,
        body: str | None = None,
        *,
        lane: str,
        timeout: float = 30.0,
        patience: float | None = 60.0,
        again: str | None = None,
        read: Callable[[bytes], Any] = decode,
    ) -> Any:
        """The decoded answer. Tries for `patience` seconds (None: for ever); RequestRefused is raised at once.

        `again` is what is sent instead of `body` from the second try on, `read` what decodes the answer.
        """
        began, tries = time.monotonic(), 0
        try:
            while True:
                try:
                    return await self._noted(lane, method, path, body, timeout, read)
                except Unreachable as trouble:
                    tries += 1
                    pause = backoff(tries, trouble.retry_after)
                    if patience is not None and time.monotonic() + pause - began > patience:
                        raise ServerUnavailable(f"The server {self.api_url} {trouble.reason}") from trouble
                    body = body if again is None else again
                await asyncio.sleep(pause)
        finally:
            self.outages.leave(lane)

    async def _noted(
        self, lane: str, method: str, path: str, body: str | None, timeout: float, read: Callable[[bytes], Any]
    ) -> Any:
        try:
            answer = await self.once(method, path, body, timeout=timeout, read=read)
        except Unreachable as trouble:
            self.outages.begin(lane, trouble.reason)
            raise
        self.outages.end(lane)
        return answer

    async def once(
        self,
        method: str,
        path: str,
        body: str | None = None,
        *,
        timeout: float,
        read: Callable[[bytes], Any] = decode,
    ) -> Any:
        """One try: the decoded answer, RequestRefused or Unreachable."""
        try:
            async with asyncio.timeout(timeout):
                answer = await self._wire.request(
                    method, self._prefix + path, None if body is None else body.encode()
                )
        except TimeoutError:
            raise Unreachable(f"gave no answer within {timeout:.0f} s") from None
        except TooLong as error:
            raise refused(error.status, f"The server's answer is larger than {MAX_RESPONSE:,} bytes.") from None
        except Broken as error:
            raise Unreachable(f"broke the connection ({error})") from error
        except OSError as error:
            raise Unreachable(_no_connection(error)) from error
        if answer.status == 413 and not _problem(answer.body, 413)[1].get("detail"):
            raise refused(413, _too_large(method, path, body))
        return self._read(answer, read)

    async def close(self) -> None:
        await self._wire.close()

    def _read(self, answer: Answer, read: Callable[[bytes], Any]) -> Any:
        status, content = answer.status, answer.body
        if 200 <= status < 300:
            return _decoded(content, read) if content else None
        if status in TRY_LATER:
            raise Unreachable(
                f"answered {status}: {_problem(content, status)[0]}", _seconds(answer.headers.get("retry-after"))
            )
        if 300 <= status < 400:
            location = answer.headers.get("location", "elsewhere")
            raise refused(status, f"{self.api_url} redirects to {location}: set POLOS_API_URL.")
        raise refused(status, *_problem(content, status))


class Outages:
    """Says when the server goes away and when it is back: once each, however many requests notice."""

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url
        self._since: float | None = None
        self._lanes: set[str] = set()  # kinds of requests that fail: one that works must not hide another

    @property
    def are_on(self) -> bool:
        return self._since is not None

    def begin(self, lane: str, reason: str) -> None:
        self._lanes.add(lane)
        if self._since is None:
            self._since = time.monotonic()
            end = "" if reason.endswith((".", "?")) else "."
            logger.warning("The server %s %s%s Trying again until it answers.", self._api_url, reason, end)

    def end(self, lane: str) -> None:
        if self._since is None:
            return
        self._lanes.discard(lane)
        if not self._lanes:
            seconds, self._since = time.monotonic() - self._since, None
            logger.info("The server %s answers again, after %.1f s.", self._api_url, seconds)

    def leave(self, lane: str) -> None:
        """A request was given up: its lane says nothing about the server any more."""
        self._lanes.discard(lane)


def backoff(tries: int, retry_after: float | None = None, *, longest: float | None = None) -> float:
    """Seconds before the next try: full jitter over an exponential ceiling, never before the server allows it."""
    ceiling = min(LONGEST_PAUSE if longest is None else longest, FIRST_PAUSE * 2.0 ** min(tries, 20))
    return (retry_after or 0.0) + random.uniform(0, ceiling)


def _headers(key: str | None) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",  # what is not unpacked cannot be a bomb
        "User-Agent": f"polos-web-sdk/{__version__}",
    }
    return headers | ({"Authorization": f"Bearer {key}"} if key else {})


def _no_connection(error: OSError) -> str:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted ({error.verify_message})"
    if isinstance(
        error, ConnectionRefusedError
    ):  # of which asyncio says "Connect call failed ('127.0.0.1', 8080)"
        return "cannot be reached (connection refused)"
    return f"cannot be reached ({error.strerror or error})"


def _too_large(method: str, path: str, body: str | None) -> str:
    """A proxy in front of the server, mostly, which has a bound of its own and no words for it."""
    size = len((body or "").encode())
    return (
        f"The request {method} {path.partition('?')[0]} has {size:,} bytes, which is more than the server or a "
        f"proxy in front of it takes (the server {MAX_REQUEST_BYTES:,}; nginx needs client_max_body_size 20m)."
    )


def _decoded(content: bytes, read: Callable[[bytes], Any]) -> Any:
    try:
        return read(content)
    except ValueError:
        raise Unreachable("answered with something that is not JSON; is POLOS_API_URL right?") from None


def _problem(content: bytes, status: int) -> tuple[str, dict[str, Any]]:
    """The sentence of a problem document, and the document."""
    try:
        problem = decode(content)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return f"The server answered {status} without a reason", {}
    return str(problem.get("detail") or problem.get("title") or f"The server answered {status}"), problem


def _seconds(retry_after: str | None) -> float | None:
    if retry_after and retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), LONGEST_RETRY_AFTER)
    return None
