"""The errors of the SDK.

PolosError
├── DefinitionError (also a ValueError): a queue or a workflow is declared wrongly
│   ├── BadName
│   ├── BadLimit
│   ├── BadSignature
│   ├── DuplicateWorkflow
│   └── QueueConflict
├── ConfigurationError: an address, a key or another setting cannot be used
├── NotSerializable: a payload or a result that JSON cannot hold
├── PayloadInvalid: a payload that does not fit the workflow's annotation
├── StateInvalid: a value for `ctx.state` that its model does not take
├── ServerUnavailable: no useful answer within the time given
├── RequestRefused: the server says no, and why
│   ├── Unauthorized (401)
│   ├── Forbidden (403)
│   ├── NotFound (404)
│   ├── Conflict (409)
│   │   └── QueueDraining
│   ├── Gone (410)
│   ├── TooLarge (413)
│   └── Invalid (400, 422)
├── ExecutionError: an execution that gives no result
│   ├── ExecutionFailed
│   ├── ExecutionCancelled
│   └── ExecutionTimeout (also a TimeoutError)
├── StepError: a step that cannot be kept
│   ├── DuplicateStep
│   ├── StepRefused
│   ├── StepTimeout (also a TimeoutError)
│   ├── StepsChanged
│   └── WaitTimeout (also a TimeoutError): a wait whose time was over
├── AttemptTimeout (also a TimeoutError): an attempt that took longer than its workflow allows
├── Retry: raised by a workflow or a step: not now, try again
│   └── Throttled
└── Fail: raised by a workflow or a step: trying again would not help
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from ._seconds import seconds_of

if TYPE_CHECKING:
    from ._execution import Execution


class PolosError(Exception):
    """Everything that the SDK raises on purpose, and what a workflow raises to tell it something."""

    step_key: str | None = None  # of the wait that ended with it: its end is kept


class DefinitionError(PolosError, ValueError):
    """A queue or a workflow is declared wrongly; the message names the place."""


class BadName(DefinitionError):
    """A name of a queue or a workflow that is not allowed."""


class BadLimit(DefinitionError):
    """A concurrency limit that is not a whole number from 0 to 1,000,000."""


class BadSignature(DefinitionError):
    """A function that cannot be called as a workflow."""


class DuplicateWorkflow(DefinitionError):
    """Two workflows with one id."""


class QueueConflict(DefinitionError):
    """Two declarations of one queue that disagree within one worker."""


class ConfigurationError(PolosError):
    """A setting that cannot be used; the message names it."""


class NotSerializable(PolosError):
    """A value that JSON cannot hold, or that is too large."""


class PayloadInvalid(PolosError):
    """A payload that does not fit the workflow's annotation. Never retried: it would fail again."""


class StateInvalid(PolosError):
    """A value for `ctx.state` that does not fit its model; the message names field and line. Never retried."""


class ServerUnavailable(PolosError):
    """No useful answer within the time given. The request may or may not have had its effect."""


class RequestRefused(PolosError):
    """The server refused a request. `detail` is its sentence, `problem` its whole answer."""

    def __init__(self, status: int, detail: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status = status
        self.detail = detail
        self.problem = problem or {}


class Unauthorized(RequestRefused):
    """No API key, or one that is unknown or revoked."""


class Forbidden(RequestRefused):
    """The API key does not allow this."""


class NotFound(RequestRefused):
    """There is no such thing, or the API key may not see it."""


class Conflict(RequestRefused):
    """It contradicts what is stored: another body under the same id, a stale token, a final status."""


class QueueDraining(Conflict):
    """The queue takes nothing new until an operator lets it accept again; `problem["queue"]` names it."""


class Gone(RequestRefused):
    """The server no longer knows this worker."""


class TooLarge(RequestRefused):
    """A payload, a result or a request over the limit."""


class Invalid(RequestRefused):
    """The request is not well-formed; the sentence says where."""


class ExecutionError(PolosError):
    """An execution that gives no result; `execution` is its last known state."""

    def __init__(self, message: str, execution: Execution | None = None) -> None:
        super().__init__(message)
        self.execution = execution


class ExecutionFailed(ExecutionError):
    """The workflow raised an error in its last attempt."""


class ExecutionCancelled(ExecutionError):
    """Somebody cancelled it."""


class ExecutionTimeout(ExecutionError, TimeoutError):
    """It was not finished in the time that the caller wanted to wait. It goes on."""


class StepError(PolosError):
    """A step that cannot be kept."""


class DuplicateStep(StepError):
    """One key for two steps of one execution."""


class StepRefused(StepError):
    """The server does not take the step's result."""


class StepTimeout(StepError, TimeoutError):
    """One try of a step took longer than its `step_timeout`. It is tried again as after any other error."""


class StepsChanged(StepError):
    """The code asks for other steps than those that earlier attempts finished; the message names key and line."""


class WaitTimeout(StepError, TimeoutError):
    """No event came, or nobody answered, within the `timeout` of a step. An attempt that ends with it is not
    followed by another one; tried again by hand, it waits anew."""


class AttemptTimeout(PolosError, TimeoutError):
    """An attempt took longer than its workflow's `timeout`. Another one follows if attempts are left."""

    reason = "attempt_timeout"  # in the error of the execution, beside queue_timeout and execution_timeout


class Retry(PolosError):
    """Raise it to have a step or an attempt tried again, `after` so many seconds: `raise polos.Retry(after=30)`.

    It counts as a try like every failure does: in a step it is one of its `max_retries`, else (or after the last
    of those) one of the workflow's `retries`. Without `after` the pause is what the retry policy says.
    """

    def __init__(self, message: str = "", *, after: float | dt.timedelta | None = None) -> None:
        self.after = None if after is None else seconds_of(after, what="after")
        super().__init__(message or _again(self.after))


class Throttled(Retry):
    """Somebody else's limit was reached: `raise polos.Throttled(retry_after=30)`, seconds as in HTTP's header.

    A `Retry` with a name of its own, so that people see why an execution waits.
    """

    def __init__(self, message: str = "", *, retry_after: float | dt.timedelta | None = None) -> None:
        after = None if retry_after is None else seconds_of(retry_after, what="retry_after")
        super().__init__(message or f"throttled; {_again(after)}", after=after)


class Fail(PolosError):
    """Raise it where another try would not help: `raise polos.Fail("no such customer")`.

    The step is not tried again, and neither is the execution, however many attempts it has left.
    """


def _again(after: float | None) -> str:
    return "to be tried again" if after is None else f"to be tried again after {after:g} s"


_BY_STATUS: dict[int, type[RequestRefused]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Invalid,
}


def refused(status: int, detail: str, problem: dict[str, Any] | None = None) -> RequestRefused:
    """The error for an HTTP status, or for what the server says it is."""
    if problem and problem.get("type") == "urn:polos:problem:queue-draining":
        return QueueDraining(status, detail, problem)
    return _BY_STATUS.get(status, RequestRefused)(status, detail, problem)
