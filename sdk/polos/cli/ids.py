"""Ids of executions, as somebody types them."""

from __future__ import annotations

import argparse
import uuid


def execution_id(text: str) -> str:
    """For argparse: the id as it is written everywhere."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no id of an execution. `polos executions` and the pages show them whole."
        ) from None
