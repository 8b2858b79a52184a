"""A client that starts executions one by one under ids it was given: `poster.py FILE_OF_IDS`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from polos import Invocation, PolosClient


async def main(ids: list[str]) -> None:
    async with PolosClient() as client:
        for id in ids:
            item = Invocation(workflow="five", queue_name="limit-5", queue_concurrency_limit=5)
            handle = await client.start(item, id=id)
            print(handle.id, handle.created, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_text().split()))
