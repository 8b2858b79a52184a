"""Log records say in which execution they were made."""

from __future__ import annotations

import logging
from typing import Any

from ._running import current

NOWHERE = "-"


def mark_log_records() -> None:
    """Gives every log record of this process, whoever makes it, four attributes for formats and filters.

    `polos_execution`, `polos_attempt`, `polos_workflow` and `polos_queue` are those of the execution in which the
    record was made, also in its steps, in tasks that it began and in threads that it uses; `-` elsewhere. Workers
    call this when they start. Call it before `logging.basicConfig` when your format uses them, so that earlier
    records have them too. A second call does nothing.
    """
    make = logging.getLogRecordFactory()
    if not isinstance(make, _Marking):
        logging.setLogRecordFactory(_Marking(make))


class _Marking:
    """A factory around the one that was there: others may have theirs."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*args, **kwargs)
        run = current.get()
        claim = {} if run is None else run.claim
        record.polos_execution = claim.get("id", NOWHERE)
        record.polos_attempt = claim.get("attempt", NOWHERE)
        record.polos_workflow = claim.get("workflow_id", NOWHERE)
        record.polos_queue = claim.get("queue", NOWHERE)
        return record
