"""Settings from the environment: each reader checks its value and names the variable when it is wrong."""

from __future__ import annotations

import os

from .problems import Problem


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def names(name: str) -> list[str]:
    return [part.strip() for part in text(name).split(",") if part.strip()]


def whole(name: str, default: int, *, at_least: int, at_most: int) -> int:
    given = text(name)
    if not given:
        return default
    if not given.isascii() or not given.isdecimal() or not at_least <= int(given) <= at_most:
        raise Problem(f"{name} is a whole number from {at_least} to {at_most}, not “{given}”.")
    return int(given)


def whole_or_none(name: str, *, at_least: int, at_most: int) -> int | None:
    return whole(name, 0, at_least=at_least, at_most=at_most) if text(name) else None


def seconds(name: str, default: float, *, at_least: float, at_most: float) -> float:
    given = text(name)
    try:
        value = float(given) if given else default
    except ValueError:
        value = -1
    if not at_least <= value <= at_most:
        raise Problem(f"{name} is a number of seconds from {at_least:g} to {at_most:g}, not “{given}”.")
    return value


def choice(name: str, default: str, *, among: tuple[str, ...]) -> str:
    given = text(name, default).lower()
    if given not in among:
        raise Problem(f"{name} is one of {', '.join(among)}, not “{given}”.")
    return given
