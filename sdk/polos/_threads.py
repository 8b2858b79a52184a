"""Calls functions, sync ones in threads. Those are daemons: a stuck one must not keep the process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

Job = tuple["Future[Any]", Callable[[], Any]]


class Threads:
    """At most `most` threads, made when needed and kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._closed = False
        self._idle = threading.Semaphore(0)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `function` gives back: an async one here, a sync one in a thread. An awaitable is awaited here."""
        if is_async(function):
            return await function(*args, **kwargs)
        value = await self.run(function, *args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls `function` in a thread. When the caller is cancelled it still waits for the end: nobody can stop
        a thread, and what the function holds is held until it has ended; but not once this is closed, when the
        worker has left and the program ends."""
        context = contextvars.copy_context()
        future = asyncio.wrap_future(self._submit(lambda: context.run(function, *args, **kwargs)))
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait((future,))
            except asyncio.CancelledError as error:
                if self._closed:
                    raise
                cancelled = error
        if cancelled is not None:
            future.exception()  # looked at, so that nobody reports it as forgotten
            raise cancelled
        return future.result()

    def close(self) -> None:
        self._closed = True
        for _ in range(self._count):
            self._jobs.put(None)

    def _submit(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((future, call))
        if not self._idle.acquire(blocking=False) and self._count < self._most:
            self._count += 1
            threading.Thread(target=self._work, name=f"polos-{self._count}", daemon=True).start()
        return future

    def _work(self) -> None:
        while (job := self._next()) is not None:
            _do(*job)
            del job

    def _next(self) -> Job | None:
        try:
            return self._jobs.get_nowait()
        except Empty:
            self._idle.release()
            return self._jobs.get()


def is_async(function: Callable[..., Any]) -> bool:
    """Also for an object that is called: calling it in a thread would only make the coroutine there."""
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(type(function).__call__)


def _do(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except StopIteration as error:  # asyncio cannot carry one: the caller would wait for ever
        _answer(future.set_exception, RuntimeError(f"StopIteration: {error}"))
    except BaseException as error:
        _answer(future.set_exception, error)
    else:
        _answer(future.set_result, result)


def _answer(answer: Callable[[Any], None], value: Any) -> None:
    try:
        answer(value)
    except RuntimeError:  # the event loop is closed: the worker left without this one
        return
