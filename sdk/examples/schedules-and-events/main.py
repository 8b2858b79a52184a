"""Places seven orders and tells what that, and the clock, has started. Needs a server."""

from __future__ import annotations

import asyncio

import workflows
from polos import ConfigurationError, Polos, RequestRefused, ServerUnavailable
from workflows import place_order

ORDERS = [f"order-{number}" for number in range(1, 8)]
PATIENCE = 30.0


async def main() -> None:
    async with Polos(patience=5) as polos, asyncio.timeout(PATIENCE):  # client and worker in one process
        for order in ORDERS:
            await place_order.run(polos, {"order": order})
        packed = [await workflows.packed.get() for _ in ORDERS]
        print(f"{len(packed)} orders were placed, and packed one by one: {', '.join(sorted(packed))}")
        first, second = await workflows.booked.get(), await workflows.booked.get()
        print(
            f"They were booked in two batches, of {len(first)} and {len(second)}: {', '.join(second)} came later"
        )
        print(f"The clock has started {await workflows.looked.get()}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ServerUnavailable as error:
        raise SystemExit(f"{error}. Start it first: polos-server start") from None
    except TimeoutError:
        raise SystemExit(
            f"It has not happened within {PATIENCE:.0f} s: is another worker of this example running?"
        ) from None
    except (ConfigurationError, RequestRefused) as error:
        raise SystemExit(str(error)) from None
