"""The parts of a queue's page that have a time of their own: charts and lanes, and their ways through it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.http import HttpRequest
from django.utils import timezone

from queues import charts, history, lanes
from queues.charts import Charts
from queues.history import Series, Window
from queues.models import Queue
from queues.reads import Now

RANGES = {"15m": "15 min", "1h": "1 h", "6h": "6 h", "1d": "1 d", "7d": "7 d", "30d": "30 d"}
REFRESH = {"15m": 10, "1h": 10, "6h": 60, "1d": 60, "7d": 60, "30d": 60}  # seconds
TIME = ("range", "from", "to")  # names in the URL
LANES_REFRESH = {"1": 2, "5": 3, "30": 10}  # seconds


@dataclass(frozen=True, slots=True)
class HistoryPanel:
    """The charts with their way through time. Queries are of URLs, ready to be written after a `?`."""

    charts: Charts
    series: Series
    query: str
    ranges: list[tuple[str, str, bool]]  # query, label, whether it is shown
    earlier: str
    later: str
    wider: str
    narrower: str
    rest: str  # what of the URL is not about the time
    refresh: int  # seconds; 0: what is shown does not change any more


def history_panel(request: HttpRequest, queue: Queue, present: Now) -> HistoryPanel:
    now = timezone.now()
    window = window_of(request, now)
    series = history.read(queue, window, now)
    rest = _said(request, ("lanes",))
    since, until = window.since, window.until
    half, quarter = window.seconds / 2, window.seconds / 4
    return HistoryPanel(
        charts=charts.charts(series, present if window.name else None),
        series=series,
        query=urlencode({**query_of(window), **rest}),
        ranges=[
            (urlencode({"range": name, **rest}), label, name == window.name) for name, label in RANGES.items()
        ],
        earlier=_moved(since - half, until - half, now, rest),
        later="" if window.name else _moved(since + half, until + half, now, rest),
        wider=_moved(since - half, until + half, now, rest),
        narrower=_moved(since + quarter, until - quarter, now, rest),
        rest=urlencode(rest),
        refresh=REFRESH.get(window.name, 0),
    )


@dataclass(frozen=True, slots=True)
class LanesPanel:
    query: str
    spans: list[tuple[str, str, bool]]  # query, label, whether it is shown
    seconds: int
    refresh: int


def lanes_panel(request: HttpRequest) -> LanesPanel:
    said = request.GET.get("lanes", "")
    shown = said if said in lanes.SPANS else lanes.DEFAULT_SPAN
    rest = _said(request, TIME)
    queries = {name: urlencode({"lanes": name, **rest}) for name in lanes.SPANS}
    return LanesPanel(
        query=queries[shown],
        spans=[(queries[name], f"{name} min", name == shown) for name in lanes.SPANS],
        seconds=lanes.SPANS[shown],
        refresh=LANES_REFRESH[shown],
    )


def _said(request: HttpRequest, names: tuple[str, ...]) -> dict[str, str]:
    """What the URL of the page says about the other part: both change it, one at a time."""
    address = request.headers.get("HX-Current-URL")
    said = dict(parse_qsl(urlsplit(address).query)) if address else request.GET
    return {name: said[name] for name in names if name in said}


def window_of(request: HttpRequest, now: dt.datetime) -> Window:
    said = request.GET
    return history.window(said.get("range", ""), said.get("from", ""), said.get("to", ""), now)


def query_of(window: Window) -> dict[str, str]:
    if window.name:
        return {"range": window.name}
    return {"from": _iso(window.since), "to": _iso(window.until)}


def _moved(since: float, until: float, now: dt.datetime, rest: dict[str, str]) -> str:
    return urlencode({**query_of(history.between(since, until, now)), **rest})


def _iso(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
