"""The protocol between the sampler and its watchers, with a made-up world: no database, no socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from queues.access import EVERYWHERE, Sight
from queues.engine import EngineUnavailable
from queues.gauges import Gauge, State, Survey
from queues.live import MOST_UNSEEN, Sampler, Watcher
from tests.pace import until

from .conftest import gauge, survey


class Stage:
    """What the sampler reads, how often it did, and what browsers got."""

    def __init__(self) -> None:
        self.now: list[Gauge] = [gauge(1), gauge(2)]
        self.reads = 0
        self.away = False
        self.gate: asyncio.Event | None = None
        self.writers: list[asyncio.Task[None]] = []
        self.sampler = Sampler(self.read, fast=0.01, calm=0.05, linger=0.1)

    async def read(self, detailed: bool = False) -> Survey:
        if self.away:
            raise EngineUnavailable
        self.reads += 1
        seen = survey(*self.now)
        if self.gate:
            await self.gate.wait()
        return seen

    def watch(self, queue: str | None = None, ids: set[int] | None = None, sight: Sight = EVERYWHERE) -> Browser:
        browser = Browser()
        shown = None if ids is None else frozenset(ids)
        browser.watcher = Watcher(browser.take, queue=queue, ids=shown, sight=sight, stats=self.sampler.stats)
        self.writers.append(asyncio.create_task(browser.watcher.write()))
        self.sampler.join(browser.watcher)
        return browser

    def change(self, *gauges: Gauge) -> None:
        by_id = {g.id: g for g in (*self.now, *gauges)}
        self.now = list(by_id.values())
        self.sampler.poke({g.id for g in gauges})


class Browser:
    """Applies fragments like a page; answers each frame unless it is slow."""

    watcher: Watcher

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.cells: dict[str, str] = {}
        self.slow = False

    async def take(self, text: str) -> None:
        frame = json.loads(text)
        self.frames.append(frame)
        self.cells |= frame.get("fragments", {})
        if frame["kind"] == "gauges" and not self.slow:
            self.watcher.seen(frame["version"])

    def kinds(self) -> list[str]:
        return [frame["kind"] for frame in self.frames]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    for writer in stage.writers:
        writer.cancel()
    await stage.sampler.stop()


def shows(browser: Browser, cell: str, text: str) -> bool:
    return text in browser.cells[cell]


async def test_the_first_frame_is_complete(stage: Stage) -> None:
    browser = stage.watch()
    await until(lambda: browser.frames)
    assert {"q-1-gauge", "q-2-state", "tile-running", "count-all"} <= browser.cells.keys()
    assert browser.frames[0]["attention"] == 0


async def test_later_frames_hold_only_what_looks_different(stage: Stage) -> None:
    browser = stage.watch()
    await until(lambda: browser.frames)
    stage.change(gauge(2, running=3))
    await until(lambda: len(browser.frames) > 1)
    assert browser.frames[1]["fragments"].keys() == {"q-2-gauge", "tile-running"}
    assert 0 <= browser.frames[1]["age_ms"] < 1_000


async def test_a_watcher_of_one_queue_gets_that_queue_and_hears_that_its_lists_changed(stage: Stage) -> None:
    browser = stage.watch("q1")
    await until(lambda: browser.frames)
    assert {id.split("-")[1] for id in browser.cells} == {"1"}
    stage.change(gauge(2, running=1))
    stage.change(gauge(1, running=2))
    await until(lambda: "changed" in browser.kinds())
    assert {"kind": "changed", "what": "queue:q1"} in browser.frames
    assert not any("q-2-gauge" in frame.get("fragments", {}) for frame in browser.frames)


async def test_a_queues_sentence_is_pushed_with_its_figures_and_only_to_its_own_page(stage: Stage) -> None:
    page, listing = stage.watch("q1"), stage.watch()
    await until(lambda: page.frames and listing.frames)
    stage.change(gauge(1, running=2))
    await until(lambda: len(page.frames) > 1 and len(listing.frames) > 1)
    assert {"q-1-gauge", "q-1-sentence"} <= page.frames[1]["fragments"].keys()
    assert not any(cell.endswith("sentence") for cell in listing.cells)


def queues_in(frame: dict[str, Any]) -> set[str]:
    return {id.split("-")[1] for id in frame.get("fragments", {}) if id.startswith("q-")}


async def test_a_list_gets_only_the_queues_that_it_shows(stage: Stage) -> None:
    stage.now = [gauge(number) for number in range(1, 2001)]
    browser = stage.watch(ids={1, 2})
    await until(lambda: browser.frames)
    assert queues_in(browser.frames[0]) == {"1", "2"}
    assert {"tile-running", "count-all"} <= browser.cells.keys()
    assert len(json.dumps(browser.frames[0])) < 5_000
    stage.change(gauge(2, running=1), gauge(3, running=1))
    await until(lambda: len(browser.frames) > 1)
    assert queues_in(browser.frames[1]) == {"2"}
    assert ">2</b>" in browser.cells["tile-running"]


async def test_what_a_list_shows_next_is_complete_in_the_next_frame_and_nothing_else_is_repeated(
    stage: Stage,
) -> None:
    browser = stage.watch(ids={1})
    await until(lambda: browser.frames)
    stage.sampler.show(browser.watcher, frozenset({1, 2}))
    await until(lambda: len(browser.frames) > 1)
    assert queues_in(browser.frames[1]) == {"2"}
    assert "q-2-spark" in browser.cells


async def test_what_a_list_shows_now_is_not_told_from_a_look_that_began_before(stage: Stage) -> None:
    browser = stage.watch(ids={1})
    await until(lambda: browser.frames)
    stage.gate = asyncio.Event()
    stage.sampler.poke()
    reads = stage.reads
    await until(lambda: stage.reads > reads)  # it has read what was before the change
    stage.change(gauge(2, running=4))
    stage.sampler.show(browser.watcher, frozenset({2}))
    stage.gate.set()
    await until(lambda: len(browser.frames) > 1)
    assert "4</b>" in browser.frames[1]["fragments"]["q-2-gauge"]


async def test_who_sees_some_queues_gets_those_and_sums_over_them(stage: Stage) -> None:
    stage.now = [gauge(1, running=1), gauge(2, running=2, state=State.NO_WORKER), gauge(3)]
    some = stage.watch(ids={1, 2, 3}, sight=Sight(("q1", "q3")))
    everything, hidden, shown = stage.watch(), stage.watch("q2", sight=Sight(("q1",))), stage.watch("q1")
    await until(lambda: all(b.frames for b in (some, everything, hidden, shown)))
    assert queues_in(some.frames[0]) == {"1", "3"}
    assert (some.cells["count-all"], some.cells["count-attention"]) == ("2", "0")
    assert (some.frames[0]["attention"], everything.frames[0]["attention"]) == (0, 1)
    assert shows(some, "tile-running", ">1</b>") and shows(everything, "tile-running", ">3</b>")
    assert hidden.cells == {}
    stage.change(gauge(2, running=5, version=2))
    await until(lambda: shows(everything, "q-2-gauge", "5</b>"))
    await until(lambda: "changed" in everything.kinds())
    assert len(some.frames) == 1 and some.kinds() == ["gauges"]
    assert hidden.cells == {} and "changed" not in hidden.kinds()


async def test_what_is_the_same_for_many_is_made_once_for_all_who_see_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from queues import fragments

    made: list[int] = []
    render = fragments.render_tiles

    def counted(gauges: Any, totals: Any) -> Any:
        made.append(len(gauges))
        return render(gauges, totals)

    monkeypatch.setattr(fragments, "render_tiles", counted)
    sights = (Sight(("q1",)), Sight(("q2", "q1")), EVERYWHERE)
    browsers = [stage.watch(sight=sight) for sight in sights for _ in range(20)]
    await until(lambda: all(browser.frames for browser in browsers))
    looks = stage.sampler.stats.looks
    assert sorted(set(made)) == [1, 2]
    assert len(made) == 3 * looks


async def test_queues_that_nobody_looks_at_are_not_rendered(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from queues import fragments

    rendered: list[int] = []
    render = fragments.render_gauge

    def counted(gauge: Gauge) -> Any:
        rendered.append(gauge.id)
        return render(gauge)

    monkeypatch.setattr(fragments, "render_gauge", counted)
    stage.now = [gauge(number) for number in range(1, 2001)]
    browser = stage.watch(ids={7})
    await until(lambda: browser.frames)
    assert rendered == [7]


async def test_a_list_hears_when_others_need_attention_even_if_as_many_do(stage: Stage) -> None:
    stage.now = [gauge(1, state=State.NO_WORKER), gauge(2)]
    browser = stage.watch(ids={1, 2})
    await until(lambda: browser.frames)
    stage.change(gauge(1), gauge(2, state=State.NO_WORKER))
    await until(lambda: "changed" in browser.kinds())


async def test_changed_lists_are_told_at_most_twice_a_second(stage: Stage) -> None:
    browser = stage.watch("q1")
    await until(lambda: browser.frames)
    for running in range(20):
        stage.change(gauge(1, running=running % 5))
        await asyncio.sleep(0.02)
    assert browser.kinds().count("changed") <= 2


async def test_nothing_is_lost_between_the_snapshot_and_the_subscription(stage: Stage) -> None:
    first = stage.watch()
    await until(lambda: first.frames)
    stage.gate = asyncio.Event()
    stage.sampler.poke()
    await until(lambda: stage.reads >= 2)  # this look began before the second browser came
    late = stage.watch()
    stage.change(gauge(1, running=4))
    stage.gate.set()
    await until(lambda: late.frames)
    await until(lambda: "4</b>" in first.cells["q-1-gauge"])
    assert "4</b>" in late.cells["q-1-gauge"]  # its first frame is of a look that began after it had joined


async def test_browsers_converge_on_the_same_picture(stage: Stage) -> None:
    browsers = [stage.watch() for _ in range(5)]
    for running in range(1, 40):
        stage.change(gauge(running % 3, running=running % 6, waiting=running))
        if running % 4 == 0:
            browsers.append(stage.watch())
        await asyncio.sleep(0.002)
    await until(lambda: all(">39<" in browser.cells.get("q-0-waiting", "") for browser in browsers))
    await until(lambda: len({json.dumps(browser.cells, sort_keys=True) for browser in browsers}) == 1)


async def test_a_slow_browser_skips_frames_and_delays_nobody(stage: Stage) -> None:
    slow, quick = stage.watch(), stage.watch()
    slow.slow = True
    await until(lambda: slow.frames and quick.frames)
    for running in range(1, 30):
        stage.change(gauge(1, running=running, limit=50))
        await until(partial(shows, quick, "q-1-gauge", f"{running}</b>"))
    assert len(slow.frames) == MOST_UNSEEN
    assert stage.sampler.stats.frames_skipped > 0
    slow.watcher.seen(stage.sampler.version)
    await until(lambda: len(slow.frames) == MOST_UNSEEN + 1)
    assert slow.cells == quick.cells  # one merged frame brought it up to date


async def test_a_browser_that_never_reads_holds_one_frame(stage: Stage) -> None:
    browser = stage.watch()
    browser.slow = True
    await until(lambda: browser.frames)
    for running in range(50):
        stage.change(gauge(1, running=running, limit=99), gauge(3 + running % 3, waiting=running))
        await asyncio.sleep(0.003)
    waiting = browser.watcher._frame
    assert waiting is not None
    assert len(waiting.parts) < 60  # the parts of five queues and the tiles, however many changes there were


@pytest.mark.parametrize("watchers", [1, 50])
async def test_the_database_is_read_as_often_for_fifty_as_for_one(stage: Stage, watchers: int) -> None:
    browsers = [stage.watch() for _ in range(watchers)]
    await until(lambda: all(browser.frames for browser in browsers))
    before, looks = stage.reads, stage.sampler.stats.looks
    stage.change(gauge(1, running=1))
    await until(lambda: all(len(browser.frames) > 1 for browser in browsers))
    assert stage.reads - before <= 2
    assert stage.sampler.stats.looks - looks <= 2


async def test_what_changed_is_rendered_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from queues import fragments

    rendered: list[int] = []
    render = fragments.render_gauges

    def counted(gauges: list[Gauge]) -> dict[str, str]:
        rendered.extend(gauge.id for gauge in gauges)
        return render(gauges)

    monkeypatch.setattr(fragments, "render_gauges", counted)
    browsers = [stage.watch() for _ in range(10)]
    await until(lambda: all(browser.frames for browser in browsers))
    rendered.clear()
    stage.change(gauge(2, running=1))
    await until(lambda: all(len(browser.frames) > 1 for browser in browsers))
    assert rendered == [2]


async def test_nobody_watching_means_nothing_read(stage: Stage) -> None:
    browser = stage.watch()
    await until(lambda: browser.frames)
    stage.sampler.leave(browser.watcher)
    await until(lambda: stage.sampler._task is not None and stage.sampler._task.done())
    reads = stage.reads
    stage.sampler.poke({1})
    await asyncio.sleep(0.1)
    assert stage.reads == reads
    again = stage.watch()
    await until(lambda: again.frames)


async def test_a_database_that_is_away_is_silence_and_then_the_truth(stage: Stage) -> None:
    browser = stage.watch()
    await until(lambda: browser.frames)
    stage.away = True
    stage.change(gauge(1, running=2))
    await asyncio.sleep(0.05)
    frames = len(browser.frames)
    stage.away = False
    await until(lambda: len(browser.frames) > frames)
    assert "2</b>" in browser.cells["q-1-gauge"]


async def test_silence_is_broken_so_that_the_page_knows_it_is_live(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queues.live.STILL_EVERY", 0.02)
    browser = stage.watch()
    await until(lambda: "still" in browser.kinds())


async def test_an_ageing_line_is_news_only_in_steps(stage: Stage) -> None:
    stage.now = [gauge(1, waiting=1, oldest_wait=700.0)]
    browser = stage.watch()
    await until(lambda: browser.frames)
    stage.change(gauge(1, waiting=1, oldest_wait=701.0))
    await asyncio.sleep(0.1)
    assert browser.kinds() == ["gauges"]
    stage.change(gauge(1, waiting=1, oldest_wait=790.0))
    await until(lambda: len(browser.frames) > 1)
    assert browser.frames[1]["fragments"].keys() == {"q-1-oldest", "tile-oldest"}


async def test_stopping_in_the_moment_of_a_change_ends_it(stage: Stage) -> None:
    browser = stage.watch()
    await until(lambda: browser.frames)
    await until(lambda: stage.sampler._poked._waiters)  # it rests
    stage.change(gauge(1, running=1))
    async with asyncio.timeout(2):
        await stage.sampler.stop()
