"""One registration of a worker: it claims, runs, hands in and keeps its lease until it drains or is lost.

One claiming exchange is in flight at a time. Results that become ready meanwhile are handed in by a second
exchange that asks for nothing; those that become ready while none is in flight go with the next claim, so that
what they free is filled in the same commit.

When there is more work than this worker takes at once, a second lane claims too, each half of the room: the server
makes one claim while the other is run here (a fifth more of them a second, when they are short). Not while the
cores are full: then both only take turns on them, and one claim for all of the room costs less (a seventh more a
second with two servers and two workers on two cores, a quarter with four).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ._context import Context, Tools
from ._cores import Cores
from ._errors import Gone, Invalid, PolosError, RequestRefused, TooLarge
from ._http import Http, Unreachable, backoff
from ._log import tell_unbegun
from ._running import Done, Run, completed, failed, not_taken, result_json, stopped
from ._stepbase import StepBase
from ._watch import LoopWatch
from ._workflow import Workflow

logger = logging.getLogger("polos")

MOST_AT_ONCE = 1_000  # results and claims of one exchange
MOST_CHARACTERS = 3_900_000  # of 16 MiB: a character has up to four bytes
SETTLE_SECONDS = 0.0015  # after claims: short ones end within this, and their results go with the next claim
GRACE_SECONDS = 0.003  # a claim that will be answered at once is worth waiting for with results
STOP_SECONDS = 5.0  # for cancelled tasks to end
FAREWELL_SECONDS = 10.0  # for the last results to arrive
EMPTY_PAUSE = 0.1  # a server that does not hold a poll must not be asked in a busy loop


class Lease:
    """Until when the server surely holds us for alive: counted from when the last renewal was sent."""

    def __init__(self, sent: float, seconds: float) -> None:
        self.renew(sent, seconds)

    def renew(self, sent: float, seconds: float) -> None:
        self.seconds = seconds
        self.renewed = sent
        # A little before the server's own end, so that what is stopped has stopped by then.
        self.end = sent + seconds - min(2.0, seconds / 10)

    @property
    def left(self) -> float:
        return self.end - time.monotonic()


class Lane:
    """One claiming exchange at a time; the numbers count on their lane."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seq = self.received = 0
        self.asked = 0  # executions that the exchange in flight asks for
        self.sent: float | None = None  # when it was sent


class Busy:
    """How many executions this process has, over all registrations: threads outlive a lost one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0
        self.wake = asyncio.Event()  # for the claims: there is room again, or a result

    @property
    def free(self) -> int:
        return self.most - self.count


class Session:
    """Made from the answer to a registration; `run` returns after draining and raises Gone when it is lost."""

    def __init__(
        self,
        *,
        http: Http,
        registered: dict[str, Any],
        sent: float,
        workflows: Mapping[str, Workflow[Any]],
        tools: Tools,
        busy: Busy,
        draining: asyncio.Event,
        drain_seconds: Callable[[], float],
    ) -> None:
        self._http = http
        self._path = f"/workers/{registered['worker_id']}"
        self._heartbeat_seconds: float = registered["heartbeat_seconds"]
        self._poll_seconds: float = min(60.0, registered["poll_seconds"])
        self._lease = Lease(sent, registered["lease_seconds"])
        self._watch_loop = LoopWatch(self._lease.seconds)
        self._workflows = workflows
        self._tools = tools
        self._busy = busy
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._running: dict[str, Run] = {}
        self._ready: list[Done] = []
        self._sending = 0  # results that are on their way
        self._lanes = (Lane(0), Lane(1))
        self._more = asyncio.Event()  # the last claim was filled, and a core is free: a second lane is worth it
        self._cores = Cores()
        self._hand_in_wake = asyncio.Event()
        self._quiet = asyncio.Event()  # nothing runs, nothing is ready, nothing is on its way
        self._beat_now = asyncio.Event()
        self._leaving = False  # the server may have forgotten us, as we asked it to

    async def run(self) -> None:
        """Works until `draining` is set, then finishes. Raises Gone when the server does not know us any more."""
        claims = [asyncio.create_task(self._claim_loop(lane)) for lane in self._lanes]
        loops = [self._hand_in_loop(), self._heartbeat_loop(), self._lease_loop()]
        tasks = claims + [asyncio.create_task(loop) for loop in loops]
        drain = asyncio.create_task(self._drain(claims))
        try:
            with self._watch_loop:
                await _watch(drain, tasks)
        except Gone:
            self._drop_all("The server does not know this worker any more")
            raise
        except BaseException:
            self._drop_all("The worker was stopped")
            raise
        finally:
            await _end([drain, *tasks])

    def why_lost(self) -> str:
        """What is known here of why the server gave it up, as the end of a sentence."""
        blocked, silence = self._watch_loop.recent_block(), time.monotonic() - self._lease.renewed
        if blocked is not None:
            return f": its event loop was blocked for {blocked:.1f} s, and its lease is {self._lease.seconds:g} s"
        if self._lease.left <= 0:
            return f": no heartbeat was answered for {silence:.1f} s, and its lease is {self._lease.seconds:g} s"
        return ", though its lease was kept here (was the server's database restored or replaced?)"

    # -- claiming ----------------------------------------------------------------------------------

    async def _claim_loop(self, lane: Lane) -> None:
        while True:
            await self._until_room(lane)
            lane.asked = capacity = self._capacity()
            began = time.monotonic()
            results = self._take()
            handed_in = bool(results)
            try:
                reply = await self._claim(lane, capacity, results)
            finally:
                lane.asked = 0
            claims = reply["executions"]
            if len(claims) >= capacity and not self._cores.are_full():
                self._more.set()
            else:
                self._more.clear()
                self._busy.wake.set()  # the other lane may wait for the room that this one had asked for
            self._start_all(claims, reply["token"])
            self._obey(reply)
            if claims:
                await self._settle(SETTLE_SECONDS)
            elif not handed_in and time.monotonic() - began < EMPTY_PAUSE:
                await self._settle(EMPTY_PAUSE)

    @property
    def _free(self) -> int:
        return self._busy.free - sum(lane.asked for lane in self._lanes)

    def _capacity(self) -> int:
        half = max(1, self._busy.most // 2)
        return min(self._free, half if self._more.is_set() else MOST_AT_ONCE, MOST_AT_ONCE)

    async def _until_room(self, lane: Lane) -> None:
        while True:
            if lane.number:  # the second lane never waits for work
                await self._more.wait()
            if self._free > 0:
                return
            self._busy.wake.clear()
            await self._busy.wake.wait()

    @property
    def _claim_sent(self) -> float | None:
        """When the last of the lanes that claim sent its exchange; None when the next claim can carry results."""
        sent = [lane.sent for lane in self._lanes if lane.number == 0 or self._more.is_set()]
        return None if None in sent else max(each for each in sent if each is not None)

    async def _settle(self, seconds: float) -> None:
        """Waits a moment for results, which are to go with the next claim."""
        if self._ready:
            return
        self._busy.wake.clear()
        timer = asyncio.get_running_loop().call_later(seconds, self._busy.wake.set)
        await self._busy.wake.wait()
        timer.cancel()

    async def _claim(self, lane: Lane, capacity: int, results: list[Done]) -> dict[str, Any]:
        """One claiming exchange, repeated with the same number until it is answered."""
        lane.seq += 1
        lane.sent = time.monotonic()
        if self._ready:
            self._hand_in_wake.set()
        try:
            # With results it does not wait for work: whether they were taken is to be known now.
            wait = 0.0 if results or lane.number else self._poll_seconds
            reply = await self._exchange(results, lane, capacity=capacity, wait=wait)
        except asyncio.CancelledError:
            self._ready = results + self._ready  # nobody knows whether they arrived: sent again, they do no harm
            self._sending -= len(results)
            raise
        finally:
            lane.sent = None
        lane.received = lane.seq
        self._settle_refused(results, reply)
        return reply

    def _start_all(self, claims: list[dict[str, Any]], token: str) -> None:
        late = self._lease.left <= 0
        loop = asyncio.get_running_loop()
        for claim in claims:
            workflow = self._workflows.get(claim["workflow_id"])
            run = Run(claim, token, is_async=workflow is None or workflow.is_async)
            self._busy.count += 1
            before = self._running.get(run.id)
            self._running[run.id] = run
            if late:  # the reply was on its way for longer than the lease: nothing may start under it
                run.ending = "released"
            # Straight from the loop, with a name at hand: half a microsecond of the five that one takes.
            run.task = loop.create_task(self._execute(run, workflow, before), name=run.id)

    # -- running -----------------------------------------------------------------------------------

    async def _execute(self, run: Run, workflow: Workflow[Any] | None, before: Run | None) -> None:
        try:
            if before is not None:
                await self._end_older(before)
            done = await self._outcome(run, workflow)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if run.ending is None and run.replay is not None:
                await self._note_end(run, error)
            done = _after_error(run, error)
        run.close()
        if run.report is not None:
            await self._tools.reporter.flush(run)
        self._busy.count -= 1
        if self._running.get(run.id) is run:
            del self._running[run.id]
        if done is not None:
            self._ready.append(done)
        self._busy.wake.set()
        self._hand_in_wake.set()

    async def _outcome(self, run: Run, workflow: Workflow[Any] | None) -> Done | None:
        run.begun = True
        if run.ending is not None:
            return _after_stop(run)
        if workflow is None:
            raise LookupError(f"This worker has no workflow {run.claim['workflow_id']}")
        arguments = workflow.arguments(run.claim["payload"])
        run.state_schema = workflow.state_schema
        context = Context(run, self._tools)
        if workflow.is_async:
            result = await workflow.function(context, *arguments)
        else:
            result = await self._tools.threads.run(workflow.function, context, *arguments)
            if asyncio.iscoroutine(result):
                result = await result
        if run.ending == "dropped":
            return None
        if run.ending == "waiting":  # it caught its cancellation; what it made of that is not its result
            return stopped(run, "waiting")
        tell_unbegun(run, self._tools.reporter)
        return completed(run, result_json(result, workflow.id))

    async def _note_end(self, run: Run, error: BaseException) -> None:
        with suppress(asyncio.CancelledError):
            await StepBase(run, self._tools).note_end(error)

    async def _end_older(self, before: Run) -> None:
        """We are given again what we still run: the older claim is over, and the two must not overlap."""
        before.stop("dropped")
        if before.task is not None:
            await asyncio.wait((before.task,))

    def _obey(self, reply: dict[str, Any]) -> None:
        for id in reply.get("cancel") or ():
            run = self._running.get(id)
            if run is not None:
                run.stop("cancelled")
        if reply.get("drain") and not self._draining.is_set():
            logger.info("The server asks this worker to finish and leave.")
            self._draining.set()

    # -- handing in --------------------------------------------------------------------------------

    async def _hand_in_loop(self) -> None:
        while True:
            await self._hand_in_wake.wait()
            self._hand_in_wake.clear()
            await self._give_claim_a_chance()
            if self._ready and self._must_hand_in():
                await self._hand_in()
            self._note_quiet()

    def _must_hand_in(self) -> bool:
        """The next claim carries the results, unless one is parked or none will be made."""
        return self._claim_sent is not None or self._busy.free <= 0 or self._draining.is_set()

    async def _give_claim_a_chance(self) -> None:
        if self._more.is_set() and self._claim_sent is not None and not self._draining.is_set():
            left = self._claim_sent + GRACE_SECONDS - time.monotonic()
            if left > 0:
                await asyncio.sleep(left)

    async def _hand_in(self) -> None:
        results = self._take()
        reply = await self._exchange(results, self._lanes[0], capacity=0, wait=0)
        self._settle_refused(results, reply)
        self._obey(reply)
        if self._ready:
            self._hand_in_wake.set()

    def _take(self) -> list[Done]:
        """The results for one request: as many as the server takes."""
        ready = self._ready
        if len(ready) <= MOST_AT_ONCE and sum(len(done.json) for done in ready) <= MOST_CHARACTERS:
            self._ready = []
            self._sending += len(ready)
            return ready
        count = size = 0
        for done in ready[:MOST_AT_ONCE]:
            size += len(done.json)
            if count and size > MOST_CHARACTERS:
                break
            count += 1
        self._ready = ready[count:]
        self._sending += count
        return ready[:count]

    def _settle_refused(self, results: list[Done], reply: dict[str, Any]) -> None:
        self._sending -= len(results)
        self._replace_refused(results, reply)

    def _replace_refused(self, results: list[Done], reply: dict[str, Any]) -> None:
        """A stale result is somebody else's now. An invalid one becomes a failure that says so, once."""
        refused = {refusal["id"]: refusal for refusal in reply.get("refused") or ()}
        for done in results if refused else ():
            refusal = refused.get(done.id)
            if refusal is None:
                continue
            if refusal["reason"] == "stale":
                logger.warning("The result of execution %s came too late. %s", done.id, refusal["detail"])
            else:
                self._replace(done, refusal["detail"])

    def _replace(self, done: Done, detail: str) -> None:
        logger.error("The result of execution %s was not taken: %s", done.id, detail)
        if not done.replaced:
            self._ready.append(not_taken(done, detail))
            self._hand_in_wake.set()

    def _note_quiet(self) -> None:
        if self._draining.is_set() and not (self._running or self._ready or self._sending):
            self._quiet.set()

    # -- the exchange ------------------------------------------------------------------------------

    async def _exchange(self, results: list[Done], lane: Lane, *, capacity: int, wait: float) -> dict[str, Any]:
        """Repeated until it is answered. Results that make a request unacceptable are found and replaced."""
        kind = f"claim {lane.number}" if capacity else "hand-in"
        tries = 0
        while True:
            body = _exchange_body(results, lane, capacity, wait)
            # Asked again without waiting, so that an answer is noticed as soon as there is one.
            again = _exchange_body(results, lane, capacity, 0)
            try:
                return await self._post_exchange(body, again, kind=kind, timeout=wait + 15)
            except Gone:
                raise
            except RequestRefused as error:
                if results and isinstance(error, (Invalid, TooLarge)):
                    await self._one_by_one(results)
                    results = []
                    continue
                tries += 1
                self._http.outages.begin(f"{kind} refused", f"refuses this worker: {error}")
                await asyncio.sleep(backoff(tries, 1.0))

    async def _one_by_one(self, results: list[Done]) -> None:
        for done in results:
            body = _exchange_body([done], self._lanes[0], 0, 0)
            try:
                self._replace_refused([done], await self._post_exchange(body, body, kind="hand-in", timeout=15))
            except (Invalid, TooLarge) as error:
                self._replace(done, error.detail)

    async def _post_exchange(self, body: str, again: str, *, kind: str, timeout: float) -> dict[str, Any]:
        reply: dict[str, Any] = await self._http.call(
            "POST", f"{self._path}/exchange", body, lane=kind, timeout=timeout, patience=None, again=again
        )
        self._http.outages.end(f"{kind} refused")
        return reply

    # -- the lease ---------------------------------------------------------------------------------

    async def _heartbeat_loop(self) -> None:
        tries = 0
        while True:
            pause = backoff(tries, longest=2.0) if tries else self._heartbeat_seconds * random.uniform(0.85, 1.0)
            await _wait_for_event(self._beat_now, pause)
            self._beat_now.clear()
            tries = 0 if await self._beat() else tries + 1

    async def _beat(self) -> bool:
        """One try, so that the lease is counted from the request that was answered."""
        sent = time.monotonic()
        timeout = max(1.0, self._heartbeat_seconds / 2)
        try:
            first, second = self._lanes
            body = f'{{"received":{first.received},"received_beside":{second.received}}}'
            beat = await self._http.once("POST", f"{self._path}/heartbeat", body, timeout=timeout)
        except Unreachable as trouble:
            self._http.outages.begin("heartbeat", trouble.reason)
            return False
        except Gone:
            if self._leaving:  # this heartbeat was overtaken by our farewell
                return True
            raise
        except RequestRefused as error:
            self._http.outages.begin("heartbeat", f"refuses this worker: {error}")
            return False
        self._http.outages.end("heartbeat")
        self._lease.renew(sent, beat["lease_seconds"])
        self._obey(beat)
        return True

    async def _lease_loop(self) -> None:
        """Stops what could not be kept: by now somebody else may be starting it."""
        while True:
            left = self._lease.left
            if left > 0:
                await asyncio.sleep(left)
                continue
            self._stop_all("released", "The lease is over: no heartbeat was answered in time")
            await asyncio.sleep(1.0)

    def _drop_all(self, why: str) -> None:
        self._stop_all("dropped", why)
        self._ready.clear()

    def _stop_all(self, ending: Any, why: str) -> None:
        runs = [run for run in self._running.values() if run.ending is None or ending == "dropped"]
        if runs:
            logger.warning("%s. Stopping %d running here; they will be started again.", why, len(runs))
        for run in runs:
            run.stop(ending)

    # -- leaving -----------------------------------------------------------------------------------

    async def _drain(self, claims: list[asyncio.Task[None]]) -> None:
        """No new work; what runs may finish for a while; the rest goes back to its place."""
        await self._draining.wait()
        logger.info("Stopping: no new work is taken; %d running here may finish.", len(self._running))
        await _end(claims)
        self._beat_now.set()  # names the last claim that was heard of: an abandoned one is given back at once
        self._hand_in_wake.set()
        if not await _wait_for_event(self._quiet, self._drain_seconds()):
            for run in list(self._running.values()):
                run.stop("released")
            self._hand_in_wake.set()
            await _wait_for_event(self._quiet, STOP_SECONDS)
        await self._leave()

    async def _leave(self) -> None:
        stuck = len(self._running)
        if stuck:
            # Leaving would start them elsewhere while they still run here. The lease ends on its own.
            logger.warning("%d sync functions do not end; what they hold is free when the lease is over.", stuck)
            return
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._quiet.wait()
                self._leaving = True
                await self._http.call("DELETE", self._path, lane="leave", patience=FAREWELL_SECONDS)
        except (TimeoutError, PolosError):
            logger.warning("The server could not be told; what is not handed in goes back when the lease is over.")
            return
        logger.info("Stopped.")


def _exchange_body(results: list[Done], lane: Lane, capacity: int, wait: float) -> str:
    head = f'{{"seq":{lane.seq},"received":{lane.received},"capacity":{capacity},"wait":{wait}'
    if lane.number:
        head += f',"lane":{lane.number}'
    if not results:
        return head + "}"
    return f'{head},"results":[{",".join([done.json for done in results])}]}}'


def _after_error(run: Run, error: BaseException) -> Done | None:
    """An error counts as the execution's own, unless we were the ones who stopped it."""
    if run.ending is not None:
        return _after_stop(run)
    return failed(run, error)


def _after_stop(run: Run) -> Done | None:
    return None if run.ending in (None, "dropped") else stopped(run, run.ending)


async def _watch(drain: asyncio.Task[None], tasks: list[asyncio.Task[None]]) -> None:
    """Until drained. An error of any of them ends all; draining itself cancels the claims."""
    pending = {drain, *tasks}
    while not drain.done():
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled():
                task.result()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
