"""DATABASE_URL, or the embedded PostgreSQL: one conninfo, for Django and for the engine's own pool."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .problems import Problem

_NAMED_BY_DJANGO = ("dbname", "user", "password", "host", "port")


def parse_url(url: str) -> str:
    """DATABASE_URL as libpq's conninfo, checked."""
    if not url.startswith(("postgres://", "postgresql://")):
        raise Problem("DATABASE_URL starts with postgresql://, as in postgresql://user:password@host:5432/name.")
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise Problem(f"DATABASE_URL is not understood: {str(error).strip()}.") from None
    if not parts.get("dbname"):
        raise Problem(
            "DATABASE_URL names no database: write it after the last slash, postgresql://user@host/name."
        )
    return make_conninfo("", **{"connect_timeout": 10, **parts})


def django_settings(conninfo: str, *, pool_size: int) -> dict[str, Any]:
    parts = conninfo_to_dict(conninfo)
    named = {key.upper(): str(parts.pop(key, None) or "") for key in _NAMED_BY_DJANGO}
    pool = {"min_size": 1, "max_size": pool_size, "timeout": 5}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": named.pop("DBNAME"),
        **named,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**parts, "pool": pool},
    }
