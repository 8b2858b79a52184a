"""When there is another try, and after which pause: for attempts of executions and tries of steps alike."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ._errors import (
    DefinitionError,
    DuplicateStep,
    ExecutionCancelled,
    ExecutionTimeout,
    Fail,
    NotSerializable,
    PayloadInvalid,
    Retry,
    StateInvalid,
    StepRefused,
    TooLarge,
    WaitTimeout,
)
from ._places import caller
from ._seconds import seconds_of

NEVER = (
    Fail,
    PayloadInvalid,
    StateInvalid,
    NotSerializable,
    DuplicateStep,
    StepRefused,
    TooLarge,
)  # they would fail again
MAX_FACTOR = 100.0
MAX_RETRIES = 999


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Pauses between tries: `base_delay` seconds after the first, `factor` times as long after each further one,
    at most `max_delay` seconds. Half of each pause is chance, so that what failed together does not come back
    together. After an error of a type in `never` there is no other try.
    """

    base_delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 300.0
    never: type[Exception] | tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise DefinitionError(f"{caller()}: {problem}")

    def pause(self, tries: int) -> float:
        """Seconds to wait after so many tries, from 1: from half of what the policy says to all of it."""
        # A power that no float holds is never computed: 1,000 attempts are allowed.
        longest = self.base_delay
        for _ in range(tries - 1):
            if longest >= self.max_delay or self.factor == 1.0 or not longest:
                break
            longest *= self.factor
        longest = min(longest, self.max_delay)
        return round(random.uniform(longest / 2, longest), 3)

    def pause_after(self, error: BaseException, tries: int) -> float | None:
        """Seconds until the next try after this error; None when there is none, however many are left."""
        if isinstance(error, (NEVER, self.never)) or _was_waited_for(error):
            return None
        if isinstance(error, Retry) and error.after is not None:
            return error.after
        return self.pause(tries)

    def _problem(self) -> str | None:
        try:
            seconds_of(self.base_delay, what="base_delay")
            seconds_of(self.max_delay, what="max_delay")
        except ValueError as error:
            return str(error)
        if isinstance(self.factor, bool) or not isinstance(self.factor, int | float):
            return f"factor is a number, not {self.factor!r}"
        if not 1.0 <= self.factor <= MAX_FACTOR:
            return f"factor is between 1 and {MAX_FACTOR:g}, not {self.factor!r}"
        types = self.never if isinstance(self.never, tuple) else (self.never,)
        if not all(isinstance(each, type) and issubclass(each, Exception) for each in types):
            return f"never is an exception class or a tuple of them, not {self.never!r}"
        return None


def _was_waited_for(error: BaseException) -> bool:
    """Whether a wait ended so: trying again would be to wait as long again."""
    waited = (ExecutionCancelled, ExecutionTimeout, WaitTimeout)
    return isinstance(error, waited) and error.step_key is not None


DEFAULT = RetryPolicy()


def retries_of(value: object, *, what: str) -> int:
    """How often something is tried again; else a ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RETRIES:
        raise ValueError(f"{what} is a whole number from 0 to {MAX_RETRIES}, not {value!r}")
    return value
