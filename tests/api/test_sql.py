"""Every statement of the REST API is valid SQL whose parameters all have a type, and says what it locks."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

import workflows
from queues.engine.statements import statement

FILES = sorted((Path(workflows.__file__).parent / "sql").glob("*.sql"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_can_be_planned(dsn: str, path: Path) -> None:
    text = statement(path.stem, "workflows")
    names = set(re.findall(r"%\((\w+)\)s", text))
    with psycopg.connect(dsn) as db, psycopg.RawCursor(db) as cursor:
        numbered = {name: n for n, name in enumerate(sorted(names), start=1)}
        bare = re.sub(r"%\((\w+)\)s", lambda match: f"${numbered[match[1]]}", text)
        cursor.execute(f"explain {bare}", [None] * len(names))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_says_what_it_locks(path: Path) -> None:
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("--")]
    assert "Locks:" in " ".join(header)
