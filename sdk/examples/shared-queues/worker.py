"""The worker process: runs everything in workflows.py. Stop it with Ctrl-C: it finishes what it has begun."""

from __future__ import annotations

import asyncio
import logging

import workflows
from polos import ConfigurationError, RequestRefused, Worker

WORKFLOWS = [
    workflows.call_api,
    workflows.send_webhook,
    workflows.read_record,
    workflows.write_record,
    workflows.process_video,
    workflows.count_words,
    workflows.make_thumbnail,
    workflows.send_mail,
    workflows.take_turns,
    workflows.batch_processor,
    workflows.orchestrator,
]


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        asyncio.run(Worker(workflows=WORKFLOWS).run())
    except (ConfigurationError, RequestRefused) as error:
        raise SystemExit(f"The worker cannot start: {error}") from None


if __name__ == "__main__":
    main()
