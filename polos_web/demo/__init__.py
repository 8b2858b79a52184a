"""`--demo`: a real worker with the example's workflows, and traffic for it."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from ..problems import Problem
from .key import key_for_demo
from .traffic import Traffic
from .worker import DemoWorker

EXAMPLE = Path("sdk", "examples", "shared-queues")


def companions() -> list[DemoWorker | Traffic]:
    """Refuses when there is no example to run, or when the database holds somebody's real data."""
    example: Path = settings.BASE_DIR / EXAMPLE
    if not (example / "worker.py").exists():
        raise Problem(f"--demo runs the example in {EXAMPLE}, so it needs a checkout of the project.")
    key = key_for_demo(settings.POLOS_DATA_DIR)
    return [DemoWorker(example, key), Traffic(key)]
