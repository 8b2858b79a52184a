"""`/metrics` for Prometheus: the queues as the pages show them, and the counters of this server.

Queue names may be confidential, so it wants an API key that covers everything (scope `full`, no patterns), a
signed-in person who sees every queue, or local mode. Labels are queue names only, never ids or what users wrote.
Page on `polos_limit_violations_total` > 0: it means that promise 1 was broken.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from . import live, vacuum
from .access import sight
from .consumers import sockets
from .engine import Engine, EngineUnavailable, get_engine
from .gauges import Gauge, Survey
from .keys import authenticate
from .models import ApiKey
from .problems import Problem

COUNTERS = {
    "enqueued": ("polos_enqueued", "Executions accepted by this server."),
    "claims": ("polos_claims", "Executions handed to workers by this server."),
    "completions": ("polos_completions", "Executions completed through this server."),
    "failures": ("polos_failures", "Executions failed for good through this server."),
    "lease_expiries": ("polos_lease_expiries", "Workers whose lease ran out."),
    "stale_refused": ("polos_stale_writes_refused", "Results and steps refused because their claim was over."),
    "limit_violations": ("polos_limit_violations", "Queues found with a claim over their limit. Must stay 0."),
}


@login_not_required
@require_safe
async def metrics(request: HttpRequest) -> HttpResponse:
    if refused := await _refusal(request):
        return refused
    engine = get_engine()
    try:
        survey: Survey | None = await live.read_now()
    except EngineUnavailable:
        survey = None  # the counters of this process are still true, and now they matter
    return HttpResponse(exposition(engine, survey), content_type=CONTENT_TYPE_LATEST)


async def _refusal(request: HttpRequest) -> HttpResponse | None:
    if "Authorization" not in request.headers and await sync_to_async(_is_signed_in)(request):
        return None
    try:
        principal = await authenticate(request.scope)  # type: ignore[attr-defined]
    except Problem as problem:
        return _say(problem.detail, problem.status, problem.headers)
    except EngineUnavailable as error:
        return _say(error.detail, 503, {"Retry-After": "1"})
    if principal.scope != ApiKey.Scope.FULL or principal.patterns:
        return _say("The metrics name every queue: they need an API key without limits of scope or queues.", 403)
    return None


def _is_signed_in(request: HttpRequest) -> bool:
    return sight(request.user).everywhere


def _say(sentence: str, status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(f"{sentence}\n", status=status, headers=headers, content_type="text/plain; charset=utf-8")


# -- what is told ----------------------------------------------------------------------------------


def exposition(engine: Engine, survey: Survey | None) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told([*_queues(survey), *_counters(engine), *_pool(engine), *_vacuum(), *_live()]))
    registry.register(live.delay_seconds)
    return generate_latest(registry)


class _Told(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _queues(survey: Survey | None) -> Iterator[Metric]:
    if survey is None:
        return
    gauges = survey.gauges
    yield _per_queue("running", "Executions that hold a slot.", {g.name: g.held for g in gauges})
    limits = {g.name: g.limit for g in gauges if g.limit is not None}
    yield _per_queue("limit", "Effective limit; absent when unlimited.", limits)
    yield _per_queue("paused", "1 while paused.", {g.name: int(g.paused) for g in gauges})
    yield _per_queue("waiting", "Executions ready to start.", {g.name: g.waiting for g in gauges})
    yield _per_queue("scheduled", "Executions that are not due.", {g.name: g.scheduled for g in gauges})
    yield _per_queue("workers", "Living workers that serve it.", {g.name: g.workers for g in gauges})
    yield _per_queue("oldest_wait_seconds", "Age of the first in line.", {g.name: _age(g) for g in gauges})


def _per_queue(name: str, text: str, values: dict[str, int] | dict[str, float]) -> Metric:
    family = GaugeMetricFamily(f"polos_queue_{name}", text, labels=["queue"])
    for queue, value in values.items():
        family.add_metric([queue], value)
    return family


def _age(gauge: Gauge) -> float:
    return round(gauge.oldest_wait or 0.0, 3)


def _counters(engine: Engine) -> Iterator[Metric]:
    for attribute, (name, text) in COUNTERS.items():
        yield CounterMetricFamily(name, text, value=getattr(engine.stats, attribute))


def _pool(engine: Engine) -> Iterator[Metric]:
    stats = engine.database.pool.get_stats()
    for key in ("pool_size", "pool_available", "requests_waiting"):
        name = f"polos_db_pool_{key.removeprefix('pool_')}"
        yield GaugeMetricFamily(name, "Connections of the engine's pool.", value=stats.get(key, 0))
    for key in ("requests_num", "requests_errors", "requests_wait_ms"):
        yield CounterMetricFamily(f"polos_db_pool_{key}", "Of the engine's pool.", value=stats.get(key, 0))


def _vacuum() -> Iterator[Metric]:
    now = dt.datetime.now(dt.UTC)
    oldest = max(((now - pin.since).total_seconds() for pin in vacuum.pins()), default=0.0)
    text = "For how long something has kept PostgreSQL from removing dead rows; 0 below ten minutes."
    yield GaugeMetricFamily("polos_vacuum_pinned_seconds", text, value=round(oldest))


def _live() -> Iterator[Metric]:
    stats = live.stats_now()
    yield GaugeMetricFamily("polos_live_sockets", "Open live pages.", value=len(sockets))
    yield CounterMetricFamily("polos_live_looks", "Looks of the sampler.", value=stats.looks)
    yield GaugeMetricFamily("polos_live_look_seconds", "Time that the last look took.", value=stats.look_seconds)
    yield CounterMetricFamily("polos_live_frames_sent", "Frames sent to pages.", value=stats.frames_sent)
    yield CounterMetricFamily(
        "polos_live_frames_skipped", "Frames that slow pages skipped.", value=stats.frames_skipped
    )
