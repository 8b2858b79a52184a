"""Traces of requests to a language model: read from CSV, or made up."""

from __future__ import annotations

import csv
import datetime as dt
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
PER_CONTEXT_TOKEN, PER_GENERATED_TOKEN = 0.00025, 0.025  # seconds


@dataclass(frozen=True, slots=True)
class Request:
    at: float  # seconds since the first one
    context_tokens: int
    generated_tokens: int

    @property
    def seconds(self) -> float:
        """How long a model works on it."""
        return PER_CONTEXT_TOKEN * self.context_tokens + PER_GENERATED_TOKEN * self.generated_tokens


def read(lines: Iterable[str]) -> list[Request]:
    """In the order of their arrival. A ValueError names the line that is no request."""
    rows = csv.DictReader(lines)
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise ValueError(f"There is no column {' and no '.join(missing)} in its first line")
    found = sorted(_parsed(row, rows) for row in rows)
    if not found:
        raise ValueError("It has no requests")
    return [Request((at - found[0][0]).total_seconds(), context, made) for at, context, made in found]


def _parsed(row: dict[str, str], rows: csv.DictReader[str]) -> tuple[dt.datetime, int, int]:
    at, context, made = (row[column] or "" for column in COLUMNS)
    try:
        moment = dt.datetime.fromisoformat(at)
        tokens = int(context), int(made)
    except ValueError as error:
        raise ValueError(f"Line {rows.line_num}: {error}") from None
    if min(tokens) < 0:
        raise ValueError(f"Line {rows.line_num}: a number of tokens below 0")
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC), *tokens


def made_up(minutes: int = 10, *, seed: int = 7) -> Iterator[str]:
    """The lines of a trace: always the same one, with bursts and lulls as real ones have them."""
    chance = random.Random(seed)
    yield ",".join(COLUMNS)
    start, at = dt.datetime(2024, 1, 1, 9, tzinfo=dt.UTC), 0.0
    while (at := at + chance.expovariate(_per_second(at))) < 60 * minutes:
        context, made = int(chance.lognormvariate(7.3, 0.8)), 1 + int(chance.expovariate(1 / 26))
        yield f"{start + dt.timedelta(seconds=at):%Y-%m-%d %H:%M:%S.%f},{context},{made}"


def _per_second(at: float) -> float:
    """One in five minutes is a burst; the others are nearly quiet."""
    return 9.0 if at % 300 < 60 else 1.0 + 0.8 * math.sin(at / 40)
