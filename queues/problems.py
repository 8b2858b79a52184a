"""Errors as `application/problem+json` (RFC 9457): one shape for the REST API, raised anywhere, written here.

Problem                 what the caller did or met, with a sentence that helps
├── Unauthorized 401    no key, an unknown or a revoked one
├── Forbidden    403    the key may not do this
├── NotFound     404    not there, or not for this key: the same answer
├── Conflicting  409    somebody or something else came first
│   └── QueueDraining   the queue takes nothing new
├── Gone         410    a worker that is no longer known
├── TooLarge     413
├── Invalid      422
└── Unavailable  503    the database is away or busy; try again
"""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
import structlog
from django.db import InterfaceError, OperationalError

from .engine.errors import EngineUnavailable, ExecutionNotFound, NotPossible, WorkerGone
from .limits import BadLimit, QueueNotFound, StaleView

CONTENT_TYPE = "application/problem+json"
log = structlog.get_logger(__name__)


class Problem(Exception):
    status: ClassVar[HTTPStatus]
    code: ClassVar[str]  # ours, because Python renames its phrases
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class Unauthorized(Problem):
    status = HTTPStatus.UNAUTHORIZED
    code = "unauthorized"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="polos"'}


class Forbidden(Problem):
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


class NotFound(Problem):
    status = HTTPStatus.NOT_FOUND
    code = "not-found"


class MethodNotAllowed(Problem):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method-not-allowed"


class Conflicting(Problem):
    status = HTTPStatus.CONFLICT
    code = "conflict"


class QueueDraining(Conflicting):
    """The queue takes nothing new; `queue` is its name."""

    code = "queue-draining"


class Gone(Problem):
    status = HTTPStatus.GONE
    code = "gone"


class TooLarge(Problem):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "too-large"


class Invalid(Problem):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid"


class Unavailable(Problem):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class Unexpected(Problem):
    """A fault of ours. The caller gets a number to quote, the log gets everything else."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "unexpected"


def body(problem: Problem) -> bytes:
    return msgspec.json.encode(
        {
            "type": f"urn:polos:problem:{problem.code}",
            "title": problem.code.replace("-", " ").capitalize(),
            "status": int(problem.status),
            "detail": problem.detail,
            **problem.extra,
        }
    )


def as_problem(error: Exception, *, where: str) -> Problem:
    """What to answer when `error` was met; what nobody expected is logged, and told as little as possible."""
    match error:
        case Problem():
            return error
        case EngineUnavailable():
            return Unavailable(error.detail)
        case OperationalError() | InterfaceError():
            return Unavailable("The database does not answer right now.")
        case WorkerGone():
            return Gone(f"{error} Register again under a new id.")
        case ExecutionNotFound():
            return NotFound(str(error))
        case QueueNotFound():
            return NotFound(error.detail)
        case NotPossible():
            return Conflicting(error.detail, **error.extra)
        case StaleView():
            return Conflicting(error.detail, version=error.queue.version)
        case BadLimit():
            return Invalid(error.detail)
        case _:
            return _unexpected(error, where)


def _unexpected(error: Exception, where: str) -> Unexpected:
    request_id = uuid.uuid4().hex
    log.error("request failed", where=where, request_id=request_id, exc_info=error)
    return Unexpected(
        "The server met an error that it did not expect. It is in the server's log under this request id.",
        request_id=request_id,
    )
