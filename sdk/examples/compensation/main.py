"""Books two trips; the second one cannot be paid, and is undone. Needs a server."""

from __future__ import annotations

import asyncio

from polos import ConfigurationError, ExecutionFailed, Polos, RequestRefused, ServerUnavailable
from workflows import Trip, book_trip, told


async def main() -> None:
    async with Polos([book_trip], patience=5) as polos:  # client and worker in one process
        for trip in (Trip(who="Ada", budget=2_000), Trip(who="Bob", budget=5)):
            told.clear()
            try:
                end = await book_trip.run(polos, trip, timeout=60)
            except ExecutionFailed as error:
                end = str(error).rpartition("Fail: ")[2]
            print(*told, end, sep="\n  ")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ServerUnavailable as error:
        raise SystemExit(f"{error}. Start it first: polos-server start") from None
    except (ConfigurationError, RequestRefused) as error:
        raise SystemExit(str(error)) from None
