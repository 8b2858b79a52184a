"""Medians, spread and ratios: as a table, as JSON, and as a page of Markdown with a plot."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from .accounting import Figures
from .contestants import OURS
from .scenarios import GOALS, Goal, Scenario


@dataclass(slots=True)
class Results:
    """Figures of every run, and what went wrong. A run that broke a promise has no figure."""

    about: dict[str, Any]
    ours: tuple[str, ...] = (OURS,)  # ours, once for each server that it ran on: a table of ratios each
    figures: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)

    def add(self, scenario: Scenario, contestant: str, figures: Figures) -> None:
        self.figures.setdefault(scenario.name, {}).setdefault(contestant, []).append(figures)

    def values(self, scenario: str, contestant: str, measure: str) -> list[float]:
        runs = self.figures.get(scenario, {}).get(contestant, [])
        return [run[measure] for run in runs if measure in run]

    def middle(self, scenario: str, contestant: str, measure: str) -> float | None:
        values = self.values(scenario, contestant, measure)
        return median(values) if values else None


@dataclass(frozen=True, slots=True)
class Ratio:
    goal: Goal
    ours: float
    value: float
    spread: tuple[float, float] | None  # over the rounds, where both took part
    against: str

    @property
    def verdict(self) -> str:
        if self._meets(self.goal.reach):
            return "reached"
        if not self.goal.must:  # something to reach for only
            return ""
        return "met" if self._meets(self.goal.must) else "MISSED"

    def _meets(self, bound: float) -> bool:
        return self.value <= bound if self.goal.at_most else self.value >= bound


def ratios(results: Results, ours: str) -> list[Ratio]:
    return [found for goal in GOALS if (found := _ratio(results, ours, goal))]


def _ratio(results: Results, ours: str, goal: Goal) -> Ratio | None:
    own = results.middle(goal.scenario, ours, goal.measure)
    if own is None:
        return None
    if goal.against_scenario:
        return _against(results, goal, own, goal.against_scenario, ours, ours)
    if not goal.against:
        values = results.values(goal.scenario, ours, goal.measure)
        return Ratio(goal, own, own, (min(values), max(values)), "")
    found = {peer: results.middle(goal.scenario, peer, goal.measure) for peer in goal.against}
    there = {peer: value for peer, value in found.items() if value}
    if not there:
        return None
    best = (min if goal.at_most else max)(there, key=lambda peer: there[peer])
    return _against(results, goal, own, goal.scenario, best, ours)


def _against(results: Results, goal: Goal, own: float, scenario: str, contestant: str, ours: str) -> Ratio | None:
    theirs = results.middle(scenario, contestant, goal.measure)
    if not theirs:
        return None
    pairs = zip(
        results.values(goal.scenario, ours, goal.measure),
        results.values(scenario, contestant, goal.measure),
        strict=False,
    )
    each = [mine / other for mine, other in pairs]
    name = contestant if contestant != ours else scenario
    return Ratio(goal, own, own / theirs, (min(each), max(each)), f"{name} {_number(theirs)}")


def table(results: Results) -> str:
    """What the command prints: ratios first, one table for each of ours, then every median with its spread."""
    parts = [f"{ours}\n{_aligned(rows)}" for ours in results.ours if (rows := _ratio_rows(results, ours))]
    parts.append(_aligned(_figure_rows(results)))
    if results.troubles:
        parts.append("Without a figure:\n" + "\n".join(results.troubles))
    return "\n\n".join(parts)


def _ratio_rows(results: Results, ours: str) -> list[tuple[str, ...]]:
    head = ("goal", "ours", "against", "ratio", "over the rounds", "must", "reach", "")
    rows = [
        (
            each.goal.name, _number(each.ours), each.against, _number(each.value),
            "–".join(map(_number, each.spread)) if each.spread else "",
            _number(each.goal.must) if each.goal.must else "–", _number(each.goal.reach), each.verdict,
        )
        for each in ratios(results, ours)
    ]  # fmt: skip
    return [head, *rows] if rows else []


def _figure_rows(results: Results) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("scenario", "who", "measure", "median", "from", "to", "runs")]
    for scenario, by_contestant in results.figures.items():
        for contestant, runs in by_contestant.items():
            for measure in runs[0]:
                values = results.values(scenario, contestant, measure)
                numbers = map(_number, (median(values), min(values), max(values)))
                rows.append((scenario, contestant, measure, *numbers, str(len(values))))
    return rows


def write(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stored = {"about": results.about, "figures": results.figures, "troubles": results.troubles}
    (folder / "results.json").write_text(json.dumps(stored, indent=1))
    (folder / "rates.svg").write_text(plot(results, "rate", unit="/s"))
    (folder / "latencies.svg").write_text(plot(results, "p50", unit=" ms"))
    (folder / "report.md").write_text(_page(results))


def _page(results: Results) -> str:
    parts = ["# Benchmarks", "\n".join(f"- {name}: {value}" for name, value in results.about.items())]
    for ours in results.ours:
        if rows := _ratio_rows(results, ours):
            parts += [f"## Ratios, {ours}", _markdown(rows)]
    parts += ["## Rates", "![rates](rates.svg)", "## Latencies, p50", "![latencies](latencies.svg)"]
    parts += ["## Figures", _markdown(_figure_rows(results))]
    if results.troubles:
        parts += ["## Without a figure", "\n".join(f"- {each}" for each in results.troubles)]
    return "\n\n".join(parts) + "\n"


# -- the plot --------------------------------------------------------------------------------------

_BAR, _LEFT, _WIDTH = 16, 260, 760


def plot(results: Results, measure: str, *, unit: str) -> str:
    """Medians as bars, the longest first, each scenario on a scale of its own, with the spread as a line."""
    shapes: list[str] = []
    y = 10
    for scenario, by_contestant in results.figures.items():
        rated = {who: values for who in by_contestant if (values := results.values(scenario, who, measure))}
        if not rated:
            continue
        shapes.append(f'<text x="4" y="{y + 12}" font-weight="bold">{escape(scenario)}</text>')
        most = max(max(values) for values in rated.values())
        for who, values in sorted(rated.items(), key=lambda item: -median(item[1])):
            shapes += _bar(who, values, most, y, unit, is_ours=who in results.ours)
            y += _BAR + 3
        y += 12
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" '
    head += 'font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *shapes, "</svg>"]) + "\n"


def _bar(who: str, values: list[float], most: float, y: int, unit: str, *, is_ours: bool) -> list[str]:
    scale = (_WIDTH - _LEFT - 90) / most
    width, low, high = median(values) * scale, min(values) * scale, max(values) * scale
    colour, middle = ("#2563a8" if is_ours else "#9aa5b1"), y + _BAR / 2
    return [
        f'<text x="{_LEFT - 6}" y="{y + 12}" text-anchor="end">{escape(who)}</text>',
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>',
        f'<line x1="{_LEFT + low:.1f}" x2="{_LEFT + high:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>',
        f'<text x="{_LEFT + max(width, high) + 6:.1f}" y="{y + 12}">{_number(median(values))}{unit}</text>',
    ]


# -- text ------------------------------------------------------------------------------------------


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _markdown(rows: Iterable[tuple[str, ...]]) -> str:
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rest])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
