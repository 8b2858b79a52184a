"""What msgspec cannot see in a request: names, raw JSON, times, characters that PostgreSQL refuses."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, UnsetType

from queues.names import name_problem
from queues.problems import Invalid, Problem, TooLarge
from queues.rawjson import MAX_PAYLOAD_BYTES, MAX_RESULT_BYTES, all_fine, problem
from queues.requests import (
    Deduplication,
    ErrorInfo,
    Finished,
    NewExecution,
    NewWait,
    Parent,
    Register,
    decode_problem,
)
from queues.search.line import BadSearch, Search, parse, written
from workflows.declaring import start_problem

MAX_REQUEST_BYTES = 16 * 1024 * 1024
LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
MAX_BIGINT = 2**63 - 1
MAX_NOTE_BYTES = 16 * 1024

T = TypeVar("T")


def decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        request = decoder.decode(body)
    except UnicodeDecodeError:
        raise Invalid("The request body is not valid UTF-8.") from None
    except RecursionError:
        raise Invalid("The request body is nested too deep.") from None
    except msgspec.DecodeError as error:
        raise Invalid(decode_problem(error)) from None
    if b"\\u0000" in body and has_null_text(request):
        raise Invalid("The request body has the character U+0000 in a text, which PostgreSQL cannot store.")
    return request


def has_null_text(value: Any) -> bool:
    """Whether a text outside of raw JSON has U+0000. Texts of errors may: `storable_error` replaces it."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, list):
        return any(map(has_null_text, value))
    if isinstance(value, Struct) and not isinstance(value, ErrorInfo):
        return any(has_null_text(getattr(value, name)) for name in value.__struct_fields__)
    return False


def storable_error(error: ErrorInfo | None) -> ErrorInfo | None:
    """An error must not get lost for a character in its message."""
    if error is None or "\0" not in f"{error.type}{error.message}{error.traceback}":
        return error
    return ErrorInfo(
        **{
            name: text.replace("\0", "\N{REPLACEMENT CHARACTER}")
            for name, text in msgspec.structs.asdict(error).items()
        }
    )


def raw_problem(raw: Raw, what: str, max_bytes: int) -> Problem | None:
    found = problem(raw, max_bytes)
    if found is None:
        return None
    kind = TooLarge if len(bytes(raw)) > max_bytes else Invalid
    return kind(f"{what} {found}.")


def result_problem(raw: Raw) -> str | None:
    found = problem(raw, MAX_RESULT_BYTES)
    return found and f"The result {found}."


def results_acceptable(results: Sequence[Raw]) -> bool:
    """Whether surely none of them has a problem."""
    return not results or all_fine(results, MAX_RESULT_BYTES)


def finished_problem(item: Finished, reaches: Callable[[str], bool]) -> str | None:
    """Why the end of a claim cannot be taken; `reaches` says which topics the caller may listen to."""
    if item.outcome != "waiting":
        return (
            "Only an execution whose outcome is waiting has waits." if item.waits else result_problem(item.result)
        )
    if not item.waits:
        return "An execution whose outcome is waiting has at least one wait."
    if repeated := _repeated(wait.key for wait in item.waits):
        return f"The wait {repeated} is declared twice."
    found = ((wait.key, wait_problem(wait, reaches)) for wait in item.waits)
    return next((f"The wait {key} is not possible: {problem}" for key, problem in found if problem), None)


def wait_problem(wait: NewWait, reaches: Callable[[str], bool]) -> str | None:
    if wait.until is not None and wait.seconds is not None:
        return "give until or seconds, not both."
    if late := time_problem("until", wait.until) or time_problem("since", wait.since):
        return late
    if (wait.kind == "executions") != (wait.executions is not None) or wait.executions == []:
        return "kind executions, and no other, names executions, at least one."
    if (wait.kind == "event") != (wait.topic is not None):
        return "kind event, and no other, names a topic."
    if wait.since is not None and wait.topic is None:
        return "since is for kind event."
    if wait.topic is not None:
        return topic_problem(wait.topic, reaches)
    if wait.kind == "time" and wait.until is None and wait.seconds is None:
        return "kind time needs until or seconds."
    bad_note = problem(wait.note, MAX_NOTE_BYTES)
    return bad_note and f"its note {bad_note}."


def topic_problem(topic: str, reaches: Callable[[str], bool]) -> str | None:
    if found := name_problem(topic):
        return f"“{topic}” cannot name a topic: {found}."
    return None if reaches(topic) else f"this API key does not reach the topic {topic}."


def execution_problem(item: NewExecution) -> Problem | None:
    """Why an execution cannot be accepted."""
    found = _problem_around(*around(item)[:5])
    return Invalid(found) if found else raw_problem(item.payload, "The payload", MAX_PAYLOAD_BYTES)


def all_acceptable(items: Sequence[NewExecution], different: Iterable[Around]) -> bool:
    """Whether `execution_problem` surely finds nothing in any item of a batch: what they have in common (`around`)
    is looked at once, as far as it is different, and all payloads together, for 0.25 µs each and not 1.3."""
    if any(_problem_around(*each[:5]) for each in different):
        return False
    return all_fine([item.payload for item in items], MAX_PAYLOAD_BYTES)


_Timeout = float | UnsetType | None
Around = tuple[
    str, str | None, dt.datetime | None, float | None, Deduplication | None, int | None, Parent | None,
    int | UnsetType | None, str | None, int | None, _Timeout, _Timeout,
]  # fmt: skip
# All but id and payload.
around: Callable[[NewExecution], Around] = attrgetter(
    "workflow_id", "queue_name", "run_at", "delay", "deduplication", "max_attempts", "parent",
    "queue_concurrency_limit", "idempotency_key", "priority", "queue_timeout", "execution_timeout",
)  # fmt: skip


def _problem_around(
    workflow_id: str,
    queue_name: str | None,
    run_at: dt.datetime | None,
    delay: float | None,
    deduplication: Deduplication | None,
) -> str | None:
    if found := name_problem(workflow_id):
        return f"“{workflow_id}” cannot name a workflow: {found}."
    if queue_name is not None and (found := name_problem(queue_name)):
        return f"“{queue_name}” cannot name a queue: {found}."
    if run_at is not None and delay is not None:
        return "Give run_at or delay, not both."
    if deduplication is not None and (
        found := _deduplication_problem(deduplication, delayed=(run_at, delay) != (None, None))
    ):
        return found
    return time_problem("run_at", run_at)


def _deduplication_problem(asked: Deduplication, *, delayed: bool) -> str | None:
    if asked.policy != "debounce":
        times = (asked.seconds, asked.longest) != (None, None)
        return "seconds and longest of a deduplication are for its policy debounce." if times else None
    if asked.seconds is None:
        return "A debounce needs seconds: how long it has to be quiet before it starts."
    if asked.longest is not None and asked.longest < asked.seconds:
        return "longest of a debounce must not be less than its seconds."
    return "A debounce says when it starts: give no run_at and no delay." if delayed else None


def time_problem(name: str, value: dt.datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        return f"{name} needs a time zone, e.g. 2030-01-31T12:00:00Z."
    # Compared as UTC, which may leave what a datetime can hold.
    try:
        within = EARLIEST <= value <= LATEST
    except OverflowError:
        within = False
    return None if within else f"{name} must be between the years {EARLIEST.year} and {LATEST.year}."


def searched(line: str, **terms: str | None) -> Search:
    """What a search line and single parameters ask for together."""
    try:
        return parse(f"{line} {written(**terms)}", dt.datetime.now(dt.UTC))
    except BadSearch as bad:
        raise Invalid(str(bad)) from None


def registration_problem(request: Register) -> str | None:
    """Why a worker's declarations cannot be taken over."""
    names = [("queue", queue.name) for queue in request.queues]
    names += [("queue", workflow.queue) for workflow in request.workflows]
    names += [("workflow", workflow.id) for workflow in request.workflows]
    for what, name in names:
        if found := name_problem(name):
            return f"“{name}” cannot name a {what}: {found}."
    if repeated := _repeated(workflow.id for workflow in request.workflows):
        return f"The workflow {repeated} is declared twice."
    if repeated := _repeated(queue.name for queue in request.queues):
        return f"The queue {repeated} is declared twice."
    if found := next(filter(None, map(start_problem, request.workflows)), None):
        return found
    if not request.name.isprintable():
        return "A worker's name must not have control characters."
    return None


def _repeated(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)
