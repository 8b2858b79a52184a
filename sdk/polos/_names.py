"""Names and limits: which are allowed. The server has the same rules; here they fail where the code is."""

from __future__ import annotations

import re

from ._errors import BadLimit, BadName

MAX_NAME_LENGTH = 200
MAX_LIMIT = 1_000_000
MAX_PLACE_LENGTH = 300
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@~-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.:@~-]*)*")


def check_name(name: object, *, what: str, place: str) -> str:
    """`name` itself when it can name a queue or a workflow, else BadName with the reason and the place."""
    if isinstance(name, str) and len(name) <= MAX_NAME_LENGTH and _NAME.fullmatch(name):
        return name
    raise BadName(f"{place}: {name!r:.250} cannot name a {what}: {_name_problem(name)}")


def check_limit(limit: object, *, what: str, place: str) -> int | None:
    """`limit` itself when it is a limit (None = unlimited, 0 = nothing starts), else BadLimit."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise BadLimit(f"{place}: the limit of {what} is a whole number or None, not {limit!r}")
    if not 0 <= limit <= MAX_LIMIT:
        raise BadLimit(f"{place}: the limit of {what} is between 0 and {MAX_LIMIT:,}, not {limit:,}")
    return limit


def _name_problem(name: object) -> str:
    if not isinstance(name, str) or not name:
        return "a name is a text that is not empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"a name has at most {MAX_NAME_LENGTH} characters, this one has {len(name)}"
    return (
        "a name has letters, digits and _ . : @ ~ - in parts separated by single slashes, "
        "and each part starts with a letter, a digit or _"
    )
