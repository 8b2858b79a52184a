"""One readable line per event on standard error; secrets never reach it."""

from __future__ import annotations

import logging.config
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"authorization|cookie|password|secret|token|api_?key|csrf|dsn", re.IGNORECASE)
_SECRET_VALUES = re.compile(
    r"(?P<key>polos_[A-Za-z0-9]+_)[A-Za-z0-9_-]+"
    r"|(?P<bearer>bearer\s+)\S+"
    r"|(?P<cookie>(?:sessionid|csrftoken)=)[^;\s]+"
    r"|(?P<url>://[^:/@\s]+:)[^@\s]+(?=@)"
    r"|(?P<link>/signin/)[A-Za-z0-9_-]{20,}",
    re.IGNORECASE,
)
HIDDEN = "[hidden]"
_QUIET = ("daphne", "asyncio", "axes", "psycopg.pool", "uvicorn")


def redact(text: str) -> str:
    return _SECRET_VALUES.sub(lambda found: f"{found[str(found.lastgroup)]}{HIDDEN}", text)


def _redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = HIDDEN
        elif isinstance(value, str):
            event[name] = redact(value)
    return event


def configure(level: str) -> None:
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(_logging(level, shared))


def _logging(level: str, shared: list[Any]) -> dict[str, Any]:
    renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redact_event, renderer],
        "foreign_pre_chain": shared,
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {name: {"level": "WARNING"} for name in _QUIET} | {"django.request": {"level": "ERROR"}},
    }
