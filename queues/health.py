"""Whether this process lives, and whether it should get requests. Both are open to everybody and say no more.

`/healthz` looks at nothing but the process: a check of the database there would restart every server in an outage.
`/readyz` is 503 while the database does not answer within a second, lacks a migration, or the server is draining.
"""

from __future__ import annotations

import asyncio
from functools import cache

import psycopg
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from .engine import get_engine

PATIENCE = 1.0  # seconds


@login_not_required
@require_safe
async def healthz(request: HttpRequest) -> HttpResponse:
    return _say("ok")


@login_not_required
@require_safe
async def readyz(request: HttpRequest) -> HttpResponse:
    problem = await problem_now()
    return _say(problem, status=503) if problem else _say("ok")


async def problem_now() -> str:
    """Why this server should get no requests, in a sentence; empty when it should."""
    if get_engine().draining:
        return "This server is stopping."
    try:
        async with asyncio.timeout(PATIENCE):
            missing = await _missing_migrations()
    except (TimeoutError, psycopg.Error, OSError):
        return "The database does not answer."
    return f"The database lacks migrations: {', '.join(missing)}." if missing else ""


async def _missing_migrations() -> list[str]:
    # A connection of its own: a busy pool is not a database that is away.
    conn = await psycopg.AsyncConnection.connect(
        settings.POLOS_DSN, autocommit=True, connect_timeout=2, application_name="polos-ready"
    )
    async with conn:
        cursor = await conn.execute("select app, name from django_migrations")
        applied = {(app, name) for app, name in await cursor.fetchall()}
    return [f"{app}.{name}" for app, name in _newest_migrations() if (app, name) not in applied]


@cache
def _newest_migrations() -> tuple[tuple[str, str], ...]:
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return tuple((app, name) for app, name in loader.graph.leaf_nodes())


def _say(text: str, status: int = 200) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
