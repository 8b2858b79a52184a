"""The list of queues."""

from __future__ import annotations

import re

from django.test import Client

from queues import fragments, gauges
from queues.models import Declaration, Status

from .conftest import make_execution, make_queue, make_worker, running, seconds_ago


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


def body(client: Client, address: str = "/") -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def cell(html: str, queue_id: int, part: str) -> str:
    found = re.search(rf'<(\w+)[^>]* id="q-{queue_id}-{part}"[^>]*>(.*?)</\1>', html, re.DOTALL)
    assert found
    return found[2]


def test_a_limit_is_drawn_as_cells(vera: Client) -> None:
    queue = make_queue(limit=5)
    worker = make_worker(queue=queue)
    running(queue, worker, 1)
    running(queue, worker, 2)
    gauge = cell(body(vera), queue.id, "gauge")
    assert gauge.count("<i") == 5
    assert gauge.count("<i class=on>") == 2
    assert "2/5" in text(gauge)


def test_the_gauge_is_over_the_effective_limit(vera: Client) -> None:
    queue = make_queue(limit=3, overridden=True, override_limit=7, override_by="ana", override_at=seconds_ago(9))
    html = body(vera)
    assert "0/7" in text(cell(html, queue.id, "gauge"))
    assert "override 3 → 7 by ana" in text(cell(html, queue.id, "source"))


def test_a_large_limit_is_a_bar_and_an_unlimited_one_a_number(vera: Client) -> None:
    large, unlimited = make_queue("large", 64), make_queue("unlimited", None)
    html = body(vera)
    assert "<svg" in cell(html, large.id, "gauge")
    assert "no limit" in cell(html, unlimited.id, "gauge")


def test_a_lowered_limit_says_that_it_drains(vera: Client) -> None:
    queue = make_queue(limit=2)
    worker = make_worker(queue=queue)
    for slot in (1, 2, 3):
        running(queue, worker, slot)
    gauge = cell(body(vera), queue.id, "gauge")
    assert "3/2draining" in text(gauge)
    assert gauge.count("class=over") == 1


def test_a_paused_queue_says_who_and_why(vera: Client) -> None:
    queue = make_queue(paused=True, paused_by="jonas", paused_reason="failover", paused_at=seconds_ago(60))
    html = body(vera)
    assert "paused by jonas: “failover”" in text(cell(html, queue.id, "source"))
    assert text(cell(html, queue.id, "state")) == "paused"


def test_workers_that_disagree_are_named_as_the_source(vera: Client) -> None:
    queue = make_queue()
    worker_a, worker_b = make_worker("worker-a", queue), make_worker("worker-b", queue)
    for worker, limit in ((worker_a, 5), (worker_b, 6)):
        Declaration.objects.create(
            queue=queue, worker_name=worker.name, limit=limit, changed_at=seconds_ago(5), seen_at=seconds_ago(1)
        )
    assert "workers declare different limits" in cell(body(vera), queue.id, "source")
    assert "Workers declare different limits" in body(vera, "/queues/api-calls")


def test_what_needs_attention_comes_first_and_is_counted_in_the_title(vera: Client) -> None:
    make_queue("aaa")
    make_execution(make_queue("zzz"))  # nobody serves it
    html = body(vera)
    assert html.index(">zzz</a>") < html.index(">aaa</a>")
    assert "<title>(1) Queues" in html
    assert "icon-attention.svg" in re.search(r'<link id="icon"[^>]*?href="([^"]+)"', html)[1]  # type: ignore[index]


def test_search_and_order_are_in_the_address(vera: Client) -> None:
    for name in ("billing/eu", "billing/us", "mail"):
        make_queue(name)
    html = body(vera, "/?search=bill&sort=name")
    assert "billing/eu" in html
    assert ">mail</a>" not in html
    assert "search=bill&amp;sort=waiting" in html


def test_no_queue_no_match_and_no_attention_look_different(vera: Client) -> None:
    assert "No queue yet" in body(vera)
    assert "concurrency_limit=5" in body(vera)
    make_queue()
    assert "No queue matches “zzz”" in body(vera, "/?search=zzz")
    assert "No queue needs attention" in body(vera, "/?show=attention")


def test_nonsense_in_the_address_is_harmless(vera: Client) -> None:
    make_queue()
    assert "api-calls" in body(vera, "/?sort=password&show=%00&start=-1&start=9e9")


def test_a_viewer_sees_no_buttons_an_operator_one_an_admin_both(vera: Client, jonas: Client, ana: Client) -> None:
    make_queue()
    assert "Pause…" not in body(vera)
    assert "Pause…" in body(jonas)
    assert "Change limit…" not in body(jonas)
    assert "Change limit…" in body(ana)


def test_what_the_server_pushes_is_what_the_page_shows(vera: Client) -> None:
    queue = make_queue()
    worker = make_worker(queue=queue)
    running(queue, worker, 1)
    running(queue, worker, 2, Status.CANCELLING)
    html = body(vera)
    pushed = fragments.render_gauges(gauges.snapshot())
    assert {id for id in pushed if f'id="{id}"' not in html} == set()
    for part in ("source", "gauge", "waiting", "spark", "state"):
        assert f">{pushed[f'q-{queue.id}-{part}']}</" in html


def test_two_thousand_queues_render_quickly() -> None:
    import time

    queue = make_queue()
    gauge = gauges.snapshot()[0]
    started = time.process_time()
    fragments.render_gauges([gauge] * 2000)
    assert time.process_time() - started < 1.0, queue
