"""Starts work on every queue of the example and tells what happens. Needs a server and a running worker.py."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from polos import ConfigurationError, ExecutionError, PolosClient, RequestRefused, ServerUnavailable
from workflows import (
    batch_processor,
    call_api,
    count_words,
    make_thumbnail,
    orchestrator,
    process_video,
    read_record,
    send_mail,
    send_webhook,
    take_turns,
    write_record,
)

TIMEOUT = 60.0


async def main() -> None:
    async with PolosClient(patience=5) as client:
        await shared_queues(client)
        await inline_and_named_queues(client)
        await unlimited_queue(client)
        await batch(client)
        await across_queues(client)
        await limits_chosen_at_invocation(client)
    print("\nDone. The dashboard shows what ran, and where.")


async def shared_queues(client: PolosClient) -> None:
    print("\n1. Workflows that share a queue share its limit")
    began = time.monotonic()
    calls = [(call_api, {"path": f"/users/{n}"}) for n in range(6)]
    hooks = [(send_webhook, {"event": f"user-{n}"}) for n in range(4)]
    await tell("api-calls, limit 5", client, [*calls, *hooks])
    reads = [(read_record, {"key": f"user-{n}"}) for n in range(10)]
    writes = [(write_record, {"key": f"user-{n}", "value": n}) for n in range(10)]
    await tell("database-ops, limit 10", client, [*reads, *writes])
    await tell("heavy-processing, limit 2", client, [(process_video, {"seconds": n}) for n in (3, 4, 5, 6)])
    print(f"   together {time.monotonic() - began:.1f} s")


async def inline_and_named_queues(client: PolosClient) -> None:
    print("\n2. A queue of its own, and a queue that only has a name")
    await tell("make_thumbnail, limit 3", client, [(make_thumbnail, {"image": f"cat-{n}"}) for n in range(6)])
    await tell("mail, the server's default", client, [(send_mail, {"to": f"user-{n}"}) for n in range(4)])


async def unlimited_queue(client: PolosClient) -> None:
    print("\n3. No limit: all at once")
    await tell("unlimited", client, [(count_words, {"text": "one two three"}) for _ in range(20)])


async def batch(client: PolosClient) -> None:
    print("\n4. A batch: one execution starts ten others, and they wait in their own line")
    began = time.monotonic()
    result = await batch_processor.run(client, {"items": list(range(10))}, timeout=TIMEOUT)
    print(f"   batch_processor started {result['started']} children after {time.monotonic() - began:.1f} s")
    await asyncio.gather(*(client.wait(child, timeout=TIMEOUT) for child in result["children"]))
    print(f"   all ten are done after {time.monotonic() - began:.1f} s: five at a time, half a second each")


async def across_queues(client: PolosClient) -> None:
    print("\n5. One execution that starts work on four queues")
    children = await orchestrator.run(client, {"key": "order-7"}, timeout=TIMEOUT)
    for name, child in children.items():
        execution = await client.wait(child, timeout=TIMEOUT)
        print(f"   {name:<6} on {execution.queue:<17} {execution.status}: {execution.result}")


async def limits_chosen_at_invocation(client: PolosClient) -> None:
    print("\n6. A limit chosen when the work is started: three times two seconds")
    await in_turn(client, queue="one-at-a-time", limit=1, words="strictly one after another")
    await in_turn(client, queue="three-at-a-time", limit=3, words="in parallel")


async def in_turn(client: PolosClient, *, queue: str, limit: int, words: str) -> None:
    print(f"   queue {queue}, limit {limit}: {words}")
    began, clock = time.monotonic(), time.time()
    handles = [
        await take_turns.invoke(
            client, {"name": name, "seconds": 2.0}, queue_name=queue, queue_concurrency_limit=limit
        )
        for name in ("first", "second", "third")
    ]
    for result in await asyncio.gather(*(handle.result(TIMEOUT) for handle in handles)):
        print(
            f"     {result['name']:<7} from {result['began'] - clock:4.1f} s to {result['ended'] - clock:4.1f} s"
        )
    print(f"     together {time.monotonic() - began:.1f} s")


async def tell(words: str, client: PolosClient, work: list[tuple[Any, dict[str, Any]]]) -> None:
    """Starts everything with one request, waits for all of it, and prints how long it took."""
    began = time.monotonic()
    handles = await client.batch_invoke(work)
    await asyncio.gather(*(handle.result(TIMEOUT) for handle in handles))
    print(f"   {words:<28} {len(handles):>3} executions in {time.monotonic() - began:4.1f} s")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ServerUnavailable as error:
        raise SystemExit(f"{error}. Start it first: polos-server start") from None
    except ExecutionError as error:
        raise SystemExit(f"{error}. Is worker.py running?") from None
    except (ConfigurationError, RequestRefused) as error:
        raise SystemExit(str(error)) from None
