"""The list of queues as its address says it: which ones, in what order, in which groups, from where on."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from . import gauges
from .gauges import Gauge

PAGE_SIZE = 100  # lines
MOST_OPEN = 50  # groups in one address
SEPARATORS = "/."
SHOWS = ("all", "attention", "favourites")

SORTS: dict[str, tuple[str, Callable[[Gauge], Any]]] = {
    "attention": ("attention first", lambda g: (not gauges.needs_attention(g), g.name)),
    "name": ("name", lambda g: g.name),
    "running": ("most running", lambda g: (-g.held, g.name)),
    "waiting": ("most waiting", lambda g: (-g.waiting, g.name)),
    "oldest": ("oldest wait", lambda g: (-(g.oldest_wait or 0), g.name)),
    "rate": ("fastest", lambda g: (-g.per_minute, g.name)),
}


@dataclass(frozen=True, slots=True)
class Group:
    """Queues whose names begin alike, in the order of the list. `prefix` ends with its separator."""

    prefix: str
    members: tuple[Gauge, ...]
    open: bool

    @property
    def key(self) -> str:
        """For ids of elements."""
        return f"{zlib.crc32(self.prefix.encode()):08x}"

    @property
    def held(self) -> int:
        return sum(gauge.held for gauge in self.members)

    @property
    def waiting(self) -> int:
        return sum(gauge.waiting for gauge in self.members)

    @property
    def oldest_wait(self) -> float | None:
        return max((g.oldest_wait for g in self.members if g.oldest_wait is not None), default=None)

    @property
    def per_minute(self) -> float:
        return sum(gauge.per_minute for gauge in self.members)

    @property
    def attention(self) -> int:
        return gauges.attention(self.members)

    @property
    def paused(self) -> int:
        return sum(gauge.paused for gauge in self.members)


Line = Gauge | Group


@dataclass(frozen=True, slots=True)
class View:
    """What the address says. Nonsense in it means the default."""

    search: str = ""
    show: str = "all"
    sort: str = "attention"
    grouped: bool = False
    open: frozenset[str] = frozenset()  # prefixes of the groups that are unfolded
    start: int = 0

    @classmethod
    def of(cls, query: QueryDict) -> View:
        show, sort, start = query.get("show", ""), query.get("sort", ""), query.get("start", "")
        return cls(
            search=query.get("search", "").strip()[:200],
            show=show if show in SHOWS else "all",
            sort=sort if sort in SORTS else "attention",
            grouped=query.get("groups") == "1",
            open=frozenset(query.getlist("open")[:MOST_OPEN]),
            start=int(start) if start.isascii() and start.isdecimal() and len(start) < 7 else 0,
        )

    def pick(self, found: Iterable[Gauge], favourites: Collection[int] = ()) -> list[Gauge]:
        """Every word of the search is somewhere in the name."""
        words = self.search.lower().split()
        picked = [gauge for gauge in found if all(word in gauge.name.lower() for word in words)]
        if self.show == "attention":
            picked = [gauge for gauge in picked if gauges.needs_attention(gauge)]
        elif self.show == "favourites":
            picked = [gauge for gauge in picked if gauge.id in favourites]
        return sorted(picked, key=SORTS[self.sort][1])

    def lines(self, picked: list[Gauge]) -> list[Line]:
        """A group stands where its first queue would; only those in an unfolded one have lines of their own."""
        if not self.grouped:
            return list(picked)
        members = by_prefix(picked)
        lines: list[Line] = []
        for gauge in picked:
            prefix = prefix_of(gauge.name)
            group = members.get(prefix, ())
            if len(group) < 2:
                lines.append(gauge)
            elif group[0] is gauge:
                unfolded = prefix in self.open
                lines.append(Group(prefix, tuple(group), unfolded))
                lines.extend(group if unfolded else ())
        return lines


def prefix_of(name: str) -> str:
    """`billing/` of `billing/eu/invoices`, `billing.` of `billing.eu`; empty when the name has no such part."""
    ends = [name.find(separator) for separator in SEPARATORS]
    end = min((at for at in ends if at > 0), default=-1)
    return name[: end + 1] if 0 < end < len(name) - 1 else ""


def by_prefix(found: Iterable[Gauge]) -> dict[str, list[Gauge]]:
    members: dict[str, list[Gauge]] = {}
    for gauge in found:
        if prefix := prefix_of(gauge.name):
            members.setdefault(prefix, []).append(gauge)
    return members
