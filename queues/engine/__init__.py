"""The engine: everything that decides what runs. `queues/README.md` is the map."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from .engine import Config, Engine
from .enqueue import Conflict
from .errors import EngineError, EngineUnavailable, ExecutionNotFound, NotPossible, WorkerGone

__all__ = [
    "Config",
    "Conflict",
    "Engine",
    "EngineError",
    "EngineUnavailable",
    "ExecutionNotFound",
    "NotPossible",
    "WorkerGone",
    "get_engine",
]

_engines: WeakKeyDictionary[asyncio.AbstractEventLoop, Engine] = WeakKeyDictionary()


def get_engine() -> Engine:
    """The engine of this process, bound to the running event loop; the server starts and stops it."""
    loop = asyncio.get_running_loop()
    engine = _engines.get(loop)
    if engine is None:
        engine = _engines[loop] = Engine(_config())
    return engine


def _config() -> Config:
    from django.conf import settings  # the engine itself needs no Django

    return Config(
        conninfo=settings.POLOS_DSN,
        lease=settings.POLOS_LEASE_SECONDS,
        heartbeat=settings.POLOS_HEARTBEAT_SECONDS,
        sweep=settings.POLOS_SWEEP_SECONDS,
        poll=settings.POLOS_POLL_SECONDS,
        pool_size=settings.POLOS_DB_POOL_SIZE,
        default_limit=settings.POLOS_DEFAULT_CONCURRENCY_LIMIT,
        max_losses=settings.POLOS_MAX_LOSSES,
        retention_days=settings.POLOS_RETENTION_DAYS,
    )
