"""JSON that is given on a command line, in a file, or on stdin."""

from __future__ import annotations

import argparse
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
