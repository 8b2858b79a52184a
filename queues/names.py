"""Names of queues and workflows: which are allowed, and why not the others.

A name goes into URLs unescaped, so it uses only characters that need no escaping there, and no
segment that a browser would rewrite. `billing/eu`, `billing/pause` and `billing.invoices` are names.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_NAME_LENGTH = 200
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@~-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.:@~-]*)*")


def name_problem(name: object) -> str | None:
    """Why `name` cannot name a queue or a workflow; None when it can."""
    if not isinstance(name, str) or not name:
        return "a name is a text that is not empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"a name has at most {MAX_NAME_LENGTH} characters, this one has {len(name)}"
    if not _NAME.fullmatch(name):
        return (
            "a name has letters, digits and _ . : @ ~ - in parts separated by single slashes, "
            "and each part starts with a letter, a digit or _"
        )
    return None


# -- patterns of names -----------------------------------------------------------------------------

_PATTERN = re.compile(r"[A-Za-z0-9_.:@~*/-]{1,200}")


def pattern_problem(pattern: object) -> str | None:
    if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
        return f"{pattern!r} is not a pattern: a queue name in which * stands for any characters, e.g. billing/*"
    return None


@lru_cache(maxsize=1_000)
def pattern_regex(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Matches, as a whole, the names that at least one of the patterns names."""
    return re.compile("|".join(map(_expression, patterns)))


def _expression(pattern: str) -> str:
    """Of each part between stars the first place is taken for good: tried again and again (`*a*a*a*b`), a name of
    200 characters would take years."""
    first, *parts = map(re.escape, pattern.split("*"))
    if not parts:
        return first
    return first + "".join(f"(?>.*?{part})" for part in parts[:-1]) + f".*{parts[-1]}"
