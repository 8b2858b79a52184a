"""`polos-server start`: database, schema, first admin, server; and the way back."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import webbrowser
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import django
import structlog
from django.conf import settings

from .embedded import EmbeddedPostgres
from .problems import Problem
from .serving.companion import Looping

log = structlog.get_logger(__name__)
REVIVE_SECONDS = 2.0
ENDED_AT_ONCE = 130


def start(serve: Callable[..., None], *, demo: bool, open_browser: bool) -> None:
    django.setup(set_prefix=False)
    postgres = None if settings.DATABASE_URL else EmbeddedPostgres(settings.POLOS_DATA_DIR)
    with postgres.running() if postgres else nullcontext():
        _run(serve, postgres, demo=demo, open_browser=open_browser)


def _run(serve: Callable[..., None], postgres: EmbeddedPostgres | None, *, demo: bool, open_browser: bool) -> None:
    from . import banner, migrating
    from .serving.life import SIGNALS, Life

    migrating.migrate()
    companions = _companions(postgres, demo=demo)
    shown = banner.make(demo=demo)

    def announce() -> None:
        print(shown.text, flush=True)  # noqa: T201
        if open_browser:
            # A browser in the terminal would keep the server waiting.
            threading.Thread(target=webbrowser.open, args=(shown.first_page,), daemon=True).start()

    def end_at_once() -> None:
        for companion in companions:
            companion.kill()
        if postgres:
            postgres.leave(wait=False)
        os._exit(ENDED_AT_ONCE)

    life = Life(announce=announce, companions=companions, end_at_once=end_at_once)
    serve(life, host=settings.POLOS_HOST, port=settings.POLOS_PORT)
    for number in SIGNALS:  # while the database stops
        signal.signal(number, lambda *_: end_at_once())


def _companions(postgres: EmbeddedPostgres | None, *, demo: bool) -> list[Any]:
    """In the order of their start; they stop in the opposite one."""
    companions: list[Any] = [Reviver(postgres)] if postgres else []
    if demo:
        from .demo import companions as of_demo

        companions += of_demo()
    return companions


class Reviver(Looping):
    """Starts the embedded PostgreSQL again when it has died; everybody else waits for it meanwhile."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(REVIVE_SECONDS)
            try:
                await asyncio.to_thread(self._postgres.revive)
            except Problem as problem:
                log.error("the database is down", reason=str(problem))
