"""`ctx.log`: lines that people see on the execution's page."""

from __future__ import annotations

from typing import Any

from ._reports import Reporter
from ._running import Run


def tell_unbegun(run: Run, reporter: Reporter) -> None:
    """An `await` that is missing costs a step, and nothing else would say so where people look."""
    if run.unbegun:
        Log(run, reporter).warning(
            "Steps were asked for and never awaited, so they were not done: write `await ctx.step.…`",
            steps=run.unbegun,
        )


class Log:
    """`ctx.log`: lines that people see on the execution's page, with fields: `ctx.log.info("sent", to=address)`.

    A line is sent in the background. It never keeps the workflow waiting, and never fails it: a field that JSON
    cannot hold is written as text, a text is cut at 10,000 characters, fields at 16 KiB. While the server is away
    a worker keeps up to 10,000 lines, then drops the oldest, and a line says how many. The result of an attempt is
    handed in after its lines. A worker that is killed takes those of its last fifth of a second with it.

    Lines carry the attempt. While an attempt goes over steps that earlier ones have finished it logs nothing: what
    it said there is there already. The server keeps the newest 10,000 lines of an execution, as long as that.
    """

    __slots__ = ("_reporter", "_run")

    def __init__(self, run: Run, reporter: Reporter) -> None:
        self._run = run
        self._reporter = reporter

    def debug(self, text: object, /, **fields: Any) -> None:
        self._reporter.line(self._run, "debug", text, fields)

    def info(self, text: object, /, **fields: Any) -> None:
        self._reporter.line(self._run, "info", text, fields)

    def warning(self, text: object, /, **fields: Any) -> None:
        self._reporter.line(self._run, "warning", text, fields)

    def error(self, text: object, /, **fields: Any) -> None:
        self._reporter.line(self._run, "error", text, fields)
