"""What is given on a command line: JSON, there or in a file or on stdin, and times."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any


def payload(text: str) -> Any:
    """For argparse."""
    try:
        if text == "-":
            return json.load(sys.stdin)
        return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text[1:]} cannot be read: {error.strerror}") from error
    except ValueError as error:
        hint = """a text needs its quotes too: '"text"'"""
        raise argparse.ArgumentTypeError(f"this is not JSON ({error}); {hint}") from error


def time(text: str) -> dt.datetime:
    """For argparse: without an offset, in this machine's time zone."""
    try:
        return dt.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time like 2030-01-31T12:00 or 2030-01-31T12:00Z"
        ) from error
