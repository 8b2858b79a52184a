"""An execution as lines to copy that start another one like it: with the command, by REST, in Python."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from .models import Execution

LONG = 4_000  # characters of a payload that does not belong into a line
FILE = "payload.json"


@dataclass(frozen=True, slots=True)
class Again:
    command: str
    rest: str
    python: str
    needs_file: bool  # the payload is too long for a line: it is to be saved as `FILE`


class _Digits(float):
    """A number that is written as it was sent."""

    text: str

    def __repr__(self) -> str:
        return self.text


def again(execution: Execution, payload: str | None, queue: str, server: str) -> Again:
    """`payload` is its JSON as text; `server` the address of this installation."""
    raw = payload or "null"
    workflow, long = execution.workflow, len(raw) > LONG
    own_queue = queue != workflow
    given = f"@{FILE}" if long else shlex.quote(raw)
    literal = f"json.load(open({FILE!r}))" if long else _literal(raw)
    return Again(
        command=f"polos run {shlex.quote(workflow)}"
        + (f" --queue {shlex.quote(queue)}" if own_queue else "")
        + (f" --payload {given}" if raw != "null" else ""),
        rest=_rest(workflow, queue, raw, f"{server.rstrip('/')}/api/v1/executions", long=long),
        python=("import json\n" if "json.load" in literal else "")
        + "from polos import SyncClient\n\nwith SyncClient() as client:\n"
        + f"    print(client.run({workflow!r}, {literal}{f', queue_name={queue!r}' if own_queue else ''}))",
        needs_file=long,
    )


def _rest(workflow: str, queue: str, raw: str, address: str, *, long: bool) -> str:
    """A long payload goes around the command line, which has a bound."""
    head = f'{{"workflow_id": {json.dumps(workflow)}, "queue_name": {json.dumps(queue)}, "payload": '
    call = (
        f"curl -X POST {shlex.quote(address)} \\\n"
        '  -H "Authorization: Bearer $POLOS_API_KEY" -H "Content-Type: application/json" \\\n'
    )
    if long:
        return f"{{ printf %s {shlex.quote(head)}; cat {FILE}; printf '}}'; }} | {call}  --data-binary @-"
    return f"{call}  -d {shlex.quote(f'{head}{raw}}}')}"


def _literal(raw: str) -> str:
    try:
        return repr(json.loads(raw, parse_float=_digits))
    except (ValueError, RecursionError):
        return f"json.loads({raw!r})"


def _digits(text: str) -> Any:
    number = _Digits(text)
    number.text = text
    return number
