"""Makes fifteen calls of an API that allows five in each half second. Needs a server."""

from __future__ import annotations

import asyncio
import time

from polos import ConfigurationError, Polos, RequestRefused, ServerUnavailable
from workflows import ALLOWED, api, read, write

CALLS = 15


async def main() -> None:
    async with Polos([read, write], patience=5) as polos:  # client and worker in one process
        began = time.monotonic()
        calls = [(write if number % 2 else read, number) for number in range(1, CALLS + 1)]
        handles = await polos.batch_invoke(calls)
        answers = await asyncio.gather(*(handle.result(60) for handle in handles))
        seconds = time.monotonic() - began
    for first in range(0, CALLS, ALLOWED):
        print("answered:", *api.answered[first : first + ALLOWED])
    print(f"{len(set(answers))} calls, each answered once, after {api.refused} refusals")
    print(f"together {seconds:.1f} s")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ServerUnavailable as error:
        raise SystemExit(f"{error}. Start it first: polos-server start") from None
    except (ConfigurationError, RequestRefused) as error:
        raise SystemExit(str(error)) from None
