"""Replays a trace of requests to a language model through the queue `api-calls`, in time-lapse. Needs a server."""

from __future__ import annotations

import argparse
import asyncio
import time
from bisect import bisect_right
from pathlib import Path

import traces
from traces import Request

from polos import ConfigurationError, ExecutionHandle, Polos, RequestRefused, ServerUnavailable
from workflows import Call, begun, complete

TICK = 0.02  # seconds; what comes within one is started with one request
LINES = 10  # that are told on the way


async def main(requests: list[Request], speed: float) -> None:
    print(f"{len(requests):,} requests of {requests[-1].at / 60:.0f} minutes, {speed:g} times as fast")
    async with Polos([complete], patience=5) as polos:  # client and worker in one process
        print(f"Watch them: {polos.settings.api_url}/queues/api-calls")
        began = time.monotonic()
        handles = await replay(polos, requests, speed, began)
        tokens = await asyncio.gather(*(handle.result() for handle in handles))
    print(f"{len(tokens):,} answered, with {sum(tokens):,} tokens")
    tell_waits([begun[handle.id] - began for handle in handles], requests, speed)


async def replay(polos: Polos, requests: list[Request], speed: float, began: float) -> list[ExecutionHandle[int]]:
    """Starts each when it comes in the trace, and says now and then how many wait."""
    handles: list[ExecutionHandle[int]] = []
    told, every = 0.0, requests[-1].at / LINES
    while len(handles) < len(requests):
        now = (time.monotonic() - began) * speed
        come = requests[len(handles) : bisect_right(requests, now, key=lambda each: each.at)]
        if come:
            handles += await polos.batch_invoke([(complete, call_of(each, speed)) for each in come])
        if now >= told + every:
            told, waiting = now, sum(handle.id not in begun for handle in handles)
            print(f"minute {now / 60:4.1f}: {len(handles):6,} have come, {waiting:5,} wait")
        await asyncio.sleep(TICK)
    return handles


def call_of(request: Request, speed: float) -> Call:
    return Call(
        context_tokens=request.context_tokens,
        generated_tokens=request.generated_tokens,
        seconds=request.seconds / speed,
    )


def tell_waits(starts: list[float], requests: list[Request], speed: float) -> None:
    """As long as they would have been without the time-lapse."""
    waits = sorted(start * speed - each.at for start, each in zip(starts, requests, strict=True))
    half, most, longest = (waits[int(share * (len(waits) - 1))] for share in (0.5, 0.95, 1))
    print(f"Half of them waited less than {half:.1f} s, 95 % less than {most:.1f} s, the longest {longest:.1f} s")


def chosen() -> tuple[list[Request], float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "csv", nargs="?", type=Path, help=f"with the columns {', '.join(traces.COLUMNS)}; else one is made up"
    )
    parser.add_argument("--speed", type=float, default=60.0, help="so many times as fast; usually 60")
    parser.add_argument("--minutes", type=int, default=10, help="of the trace that is made up; usually 10")
    options = parser.parse_args()
    if not 1 <= options.speed <= 10_000 or options.minutes < 1:
        parser.error("--speed is a number from 1 to 10,000, and --minutes one from 1")
    if options.csv is None:
        return traces.read(traces.made_up(options.minutes)), options.speed
    try:
        with options.csv.open(newline="", encoding="utf-8-sig") as file:
            return traces.read(file), options.speed
    except OSError as error:
        raise SystemExit(f"{options.csv} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SystemExit(f"{options.csv} cannot be replayed: {error}") from None


if __name__ == "__main__":
    try:
        asyncio.run(main(*chosen()))
    except ServerUnavailable as error:
        raise SystemExit(f"{error}. Start it first: polos-server start") from None
    except (ConfigurationError, RequestRefused) as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped. What has not run yet waits on the queue until this is started again.") from None
