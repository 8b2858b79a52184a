from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import polos
from polos import _errors

ALIASES = {"core", "events", "features", "schedules", "types"}
SDK = Path(__file__).parents[2] / "sdk"


def test_everything_public_is_listed_and_sorted() -> None:
    # As `sorted` sorts: capitals, then underscores, then small letters.
    assert polos.__all__ == sorted(polos.__all__)
    # Some are modules of their own, which are there once somebody has imported them.
    others = {"TYPE_CHECKING", "Any", "annotations", "cli", "pytest_plugin", "testing"} | ALIASES
    public = {name for name in vars(polos) if not name.startswith("_")} - others
    assert public == set(polos.__all__) - {"__version__"}
    assert all(hasattr(polos, name) for name in polos.__all__)


def test_every_error_is_public() -> None:
    errors = {name for name, value in vars(_errors).items() if isinstance(value, type)}
    assert errors <= set(polos.__all__) | {"Any"}


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    assert _drawn(_errors.__doc__ or "") == _real(polos.PolosError)


def test_every_error_has_its_row_in_the_docs() -> None:
    rows = [line for line in (SDK.parent / "docs" / "errors.md").read_text().splitlines() if "`" in line]
    explained = {name for line in rows for name in re.findall(r"`(\w+)", line)}
    assert [name for _, name in _real(polos.PolosError) if name not in explained | {"PolosError"}] == []


def _drawn(text: str) -> list[tuple[int, str]]:
    lines = [line for line in text.splitlines() if "Error" in line.split(":")[0] or "──" in line]
    return [_entry(line) for line in lines]


def _entry(line: str) -> tuple[int, str]:
    bare = line.lstrip("│├└─ ")
    return (len(line) - len(bare)) // 4, bare.split(":")[0].split(" ")[0]


def _real(error: type[BaseException], depth: int = 0) -> list[tuple[int, str]]:
    found = [(depth, error.__name__)]
    for each in error.__subclasses__():
        found += _real(each, depth + 1)
    return found


def test_importing_it_loads_no_server_and_nothing_heavy() -> None:
    heavy = {"django", "queues", "workflows", "polos_web", "httptools", "pydantic", "msgspec", "psycopg", "dotenv"}
    code = "import sys, polos; print(','.join(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert heavy.isdisjoint(shown.strip().split(","))


def test_importing_it_takes_little_time() -> None:
    """In seconds of the processor, so that what else the machine does counts as little as can be. On a slow one,
    what the libraries under it need alone says how slow it is; in turn, since a machine is not always as fast."""
    pairs = [
        (_seconds_to_import("polos"), _seconds_to_import("asyncio, json, logging, ssl, httptools, pydantic"))
        for _ in range(8)
    ]
    ours, libraries = map(min, zip(*pairs, strict=True))
    assert ours < max(0.15, 1.7 * libraries)


def _seconds_to_import(names: str) -> float:
    code = f"import time; began = time.process_time(); import {names}; print(time.process_time() - began)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_it_is_marked_as_typed() -> None:
    assert (SDK / "polos" / "py.typed").is_file()


def test_every_setting_is_documented() -> None:
    source = (SDK / "polos" / "_settings.py").read_text()
    names = set(re.findall(r"POLOS_[A-Z_]+", source))
    assert names
    for document in ("README.md", "examples/shared-queues/.env.example"):
        text = (SDK / document).read_text()
        assert {name for name in names if name not in text} == set(), document


def test_a_queue_that_drains_is_an_error_of_its_own() -> None:
    problem = {"type": "urn:polos:problem:queue-draining", "queue": "mail"}
    error = _errors.refused(409, "The queue mail is draining.", problem)
    assert isinstance(error, polos.QueueDraining) and isinstance(error, polos.Conflict)
    assert error.problem["queue"] == "mail"
    assert type(_errors.refused(409, "stale", {"type": "urn:polos:problem:conflict"})) is polos.Conflict
