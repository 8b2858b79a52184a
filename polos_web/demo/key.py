"""The demo's own API key: it does not end local mode, and it marks the database as the demo's."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from queues.keys import create_key
from queues.models import ApiKey, Queue

from ..problems import Problem


def key_for_demo(data_dir: Path) -> str:
    _refuse_other_data()
    path = data_dir / "demo-key"
    kept = path.read_text() if path.exists() else ""
    if kept and ApiKey.objects.filter(id=kept.split("_")[1], demo=True, revoked_at=None).exists():
        return kept
    # A name of its own: another machine may run the demo on the same database.
    name = f"demo {secrets.token_hex(3)}"
    _, text = create_key(name=name, scope=ApiKey.Scope.FULL, patterns=[], created_by="demo", demo=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return text


def _refuse_other_data() -> None:
    if ApiKey.objects.filter(demo=True).exists():
        return
    if ApiKey.objects.exists() or Queue.objects.exists():
        raise Problem("The database holds other data, and the demo would mix with it. Start without --demo.")
