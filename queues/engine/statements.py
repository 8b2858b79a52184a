"""Loads the SQL: one statement per file, the file's name is the verb."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def statement(name: str, package: str = "queues") -> str:
    """The text of `<package>/sql/<name>.sql`, without its header comment."""
    text = (files(package) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    lines = text.splitlines()
    body = next(index for index, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[body:])
