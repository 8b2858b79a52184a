"""One server process of the hammer: an engine, and workers that work, die and come back late."""

from __future__ import annotations

import asyncio
import random
import sys

from queues.engine import Engine, EngineUnavailable, WorkerGone, exchange_statements
from queues.requests import Heartbeat
from tests.engine.crew import Crew, Outcome, engine_on

from .interleavings import mutant

LIMITS = {"one": 1, "two": 2, "five": 5}
LEASE = 1.0


# Most complete; a mix that leaves some for the end of every kind.
ENDS: tuple[Outcome, ...] = ("completed",) * 16 + ("failed", "failed", "released", "cancelled")


def main(dsn: str, seed: int, seconds: float, mode: str) -> None:
    """`mode`: plain; rough (claims end in every way); unlocked (claims do not lock queues: must be found)."""
    random.seed(seed)
    if mode == "unlocked":
        # Slowly, so that two of them surely meet between looking and committing.
        exchange_statements.statement = mutant(  # type: ignore[assignment, attr-defined]
            lock_queues=(("for no key update skip locked", ""),),
            claim=(
                (
                    "as t (queue_id, first, last)\n",
                    "as t (queue_id, first, last) where pg_sleep(0.005)::text = ''\n",
                ),
            ),
        )
    ends = ENDS if mode == "rough" else ENDS[:1]
    stale = asyncio.run(_run(dsn, seed, seconds, ends))
    sys.stdout.write(f"{stale}\n")


async def _run(dsn: str, seed: int, seconds: float, ends: tuple[Outcome, ...]) -> int:
    """Returns how many stale results were refused here."""
    async with engine_on(dsn, duties=True, look=0.2, lease=LEASE, sweep=0.3, max_losses=1_000) as engine:
        until = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(_work(engine, f"{seed}.{n}", until, ends) for n in range(3)))
        return engine.stats.stale_refused


async def _work(engine: Engine, name: str, until: float, ends: tuple[Outcome, ...]) -> None:
    loop = asyncio.get_running_loop()
    life = 0
    while loop.time() < until:
        life += 1
        crew = await Crew(engine, f"{name}.{life}").join(*((("work", q)) for q in LIMITS), **LIMITS)
        beating = asyncio.create_task(_beat(crew))
        try:
            while loop.time() < until:
                claims = [claimed.id for claimed in await crew.take(3, wait=0.3)]
                await asyncio.sleep(random.random() * 0.01)  # noqa: S311
                if claims and random.random() < 0.02:  # noqa: S311
                    beating.cancel()  # dies with what it holds, and hands it in much too late
                    await asyncio.sleep(LEASE * 1.8)
                    await crew.end(claims)
                    break
                for id in claims:
                    await crew.end([id], random.choice(ends))  # noqa: S311
        except (WorkerGone, EngineUnavailable):
            pass
        beating.cancel()


async def _beat(crew: Crew) -> None:
    while True:
        await asyncio.sleep(LEASE / 4)
        await crew.engine.heartbeat(crew.id, Heartbeat(received=crew.seq))
