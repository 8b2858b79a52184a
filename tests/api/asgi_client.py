"""Calls the REST API in this process, as Daphne would: the hot application first, Django for the rest."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from django.core.asgi import get_asgi_application

from workflows.api import hot

_django = get_asgi_application()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Client:
    """One caller. `hot_first=False` sends everything through Django."""

    key: str | None = None
    hot_first: bool = True
    address: str = "127.0.0.1"
    port: int = 8080
    host: str = "localhost:8080"
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.call("GET", path, **options)

    async def post(self, path: str, value: Any = None, **options: Any) -> Answer:
        return await self.call("POST", path, value, **options)

    async def put(self, path: str, value: Any = None, **options: Any) -> Answer:
        return await self.call("PUT", path, value, **options)

    async def patch(self, path: str, value: Any = None, **options: Any) -> Answer:
        return await self.call("PATCH", path, value, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.call("DELETE", path, **options)

    async def call(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        body: bytes | list[bytes] | None = None,
        headers: dict[str, str] | None = None,
        gone: asyncio.Event | None = None,
    ) -> Answer:
        parts = _parts(value, body)
        scope = self._scope(method, path, parts, headers or {})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if parts:
                return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
            await (gone or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        application = hot.application if self.hot_first and hot.handles(scope) else _django
        await application(scope, receive, send)  # type: ignore[arg-type]
        return _answer(sent)

    def _scope(self, method: str, path: str, parts: list[bytes], more: dict[str, str]) -> dict[str, Any]:
        path, _, query = path.partition("?")
        headers = {"host": self.host, "user-agent": "tests"} | self.headers
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        if any(parts):
            headers |= {"content-type": "application/json", "content-length": str(sum(map(len, parts)))}
        headers |= more
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "client": (self.address, 50_000),
            "server": ("127.0.0.1", self.port),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value],
        }


def _parts(value: Any, body: bytes | list[bytes] | None) -> list[bytes]:
    if isinstance(body, list):
        return list(body)
    return [body if body is not None else b"" if value is None else json.dumps(value).encode()]


def _answer(sent: list[dict[str, Any]]) -> Answer:
    if not sent:
        return Answer(0, {}, b"")
    start, *bodies = sent
    headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(message.get("body", b"") for message in bodies))
