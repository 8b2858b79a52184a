"""An execution as lines to copy that start another one like it: with the command, by REST, in Python."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from .models import Execution


@dataclass(frozen=True, slots=True)
class Again:
    command: str
    rest: str
    python: str


class _Digits(float):
    """A number that is written as it was sent."""

    text: str

    def __repr__(self) -> str:
        return self.text


def again(execution: Execution, payload: str | None, queue: str, server: str) -> Again:
    """`payload` is its JSON as text; `server` the address of this installation."""
    raw = payload or "null"
    workflow, own_queue = execution.workflow, queue != execution.workflow
    body = f'{{"workflow_id": {json.dumps(workflow)}, "queue_name": {json.dumps(queue)}, "payload": {raw}}}'
    named = f", queue_name={queue!r}" if own_queue else ""
    return Again(
        command=f"polos run {shlex.quote(workflow)}"
        + (f" --queue {shlex.quote(queue)}" if own_queue else "")
        + (f" --payload {shlex.quote(raw)}" if raw != "null" else ""),
        rest=f"curl -X POST {shlex.quote(server.rstrip('/') + '/api/v1/executions')} \\\n"
        '  -H "Authorization: Bearer $POLOS_API_KEY" -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(body)}",
        python="from polos import SyncClient\n\nwith SyncClient() as client:\n"
        f"    print(client.run({workflow!r}, {_literal(raw)}{named}))",
    )


def _literal(raw: str) -> str:
    try:
        return repr(json.loads(raw, parse_float=_digits))
    except (ValueError, RecursionError):
        return f"json.loads({raw!r})"


def _digits(text: str) -> Any:
    number = _Digits(text)
    number.text = text
    return number
