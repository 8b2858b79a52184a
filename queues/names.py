"""Names of queues and workflows: which are allowed, and why not the others.

A name goes into URLs unescaped, so it uses only characters that need no escaping there, and no
segment that a browser would rewrite. `billing/eu`, `billing/pause` and `billing.invoices` are names.
"""

from __future__ import annotations

import re

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
