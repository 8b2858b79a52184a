"""Makes two reports at once, of 40 pages each, and tells how long that took. Needs a server."""

from __future__ import annotations

import asyncio
import time

from polos import ConfigurationError, Polos, RequestRefused, ServerUnavailable
from workflows import count_page, report

PAGES = 40


async def main() -> None:
    async with Polos([report, count_page], patience=5) as polos:  # client and worker in one process
        began = time.monotonic()
        handles = [await report.invoke(polos, PAGES) for _ in range(2)]
        for number, made in enumerate(await asyncio.gather(*(handle.result(60) for handle in handles)), 1):
            print(f"report {number}: {made.pages} pages, {made.words} words, without pages {made.missing}")
        seconds = time.monotonic() - began
        print(f"{2 * PAGES} pages of 0.1 s each, eight at once: {seconds:.1f} s")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ServerUnavailable as error:
        raise SystemExit(f"{error}. Start it first: polos-server start") from None
    except (ConfigurationError, RequestRefused) as error:
        raise SystemExit(str(error)) from None
