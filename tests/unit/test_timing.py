"""When schedules tick: cron, time zones and the two nights of a year in which the clocks change."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.timing import BadTiming, Timing, upcoming

BERLIN = "Europe/Berlin"
SPRING = dt.datetime(2026, 3, 28, 20, tzinfo=dt.UTC)  # in the night to the 29th, 02:00 to 03:00 are skipped
AUTUMN = dt.datetime(2026, 10, 24, 20, tzinfo=dt.UTC)  # in the night to the 25th, they come twice
ZONES = (BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu", "UTC")


def local(cron: str, since: dt.datetime, count: int, zone: str = BERLIN) -> list[str]:
    ticks = upcoming(Timing(cron=cron, timezone=zone), since, count)
    return [tick.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for tick in ticks]


def test_a_skipped_hour_ticks_once_when_it_is_over() -> None:
    assert local("30 2 * * *", SPRING, 2) == ["29 03:00+0200", "30 02:30+0200"]


def test_what_is_skipped_together_ticks_once_together_with_what_is_due_then() -> None:
    assert local("*/30 2,3 * * *", SPRING, 3) == ["29 03:00+0200", "29 03:30+0200", "30 02:00+0200"]


def test_an_hour_that_comes_twice_ticks_in_the_first() -> None:
    assert local("30 2 * * *", AUTUMN, 2) == ["25 02:30+0200", "26 02:30+0100"]
    assert local("*/30 2 * * *", AUTUMN, 3) == ["25 02:00+0200", "25 02:30+0200", "26 02:00+0100"]


def test_every_second_hour_does_not_lose_the_one_that_is_skipped() -> None:
    assert local("0 */2 * * *", SPRING, 4) == ["28 22:00+0100", "29 00:00+0100", "29 03:00+0200", "29 04:00+0200"]


@pytest.mark.parametrize("cron", ["0 * * * *", "0 0-23 * * *", "@hourly"])
def test_every_hour_goes_on_as_time_does(cron: str) -> None:
    for night in (SPRING, AUTUMN):
        ticks = upcoming(Timing(cron=cron, timezone=BERLIN), night, 12)
        assert {later - earlier for earlier, later in pairwise(ticks)} == {dt.timedelta(hours=1)}


def test_after_the_first_of_two_hours_the_second_does_not_tick_again() -> None:
    timing = Timing(cron="30 2 * * *", timezone=BERLIN)
    (first,) = upcoming(timing, AUTUMN, 1)
    for minutes in (0, 1, 45, 60, 61):
        assert timing.next(first + dt.timedelta(minutes=minutes)) == first + dt.timedelta(hours=25)


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 0 L 2 *", ["2026-02-28", "2027-02-28", "2028-02-29"]),
        ("0 0 29 FEB *", ["2028-02-29", "2032-02-29", "2036-02-29"]),
        ("0 0 * JAN MON#1", ["2026-01-05", "2027-01-04", "2028-01-03"]),
        ("0 0 1-31/15 JAN-FEB *", ["2026-01-01", "2026-01-16", "2026-01-31"]),
        ("0 0 1,15 6 *", ["2026-06-01", "2026-06-15", "2027-06-01"]),
        ("@weekly", ["2026-01-04", "2026-01-11", "2026-01-18"]),
        ("@yearly", ["2026-01-01", "2027-01-01", "2028-01-01"]),
    ],
)
def test_fields_and_nicknames(cron: str, days: list[str]) -> None:
    ticks = upcoming(Timing(cron=cron), dt.datetime(2025, 12, 31, 12, tzinfo=dt.UTC), 3)
    assert [f"{tick:%Y-%m-%d}" for tick in ticks] == days


@pytest.mark.parametrize(
    ("timing", "field", "told"),
    [
        (Timing(cron="* * *"), "cron", "five fields"),
        (Timing(cron="* * * * * *"), "cron", "five fields"),
        (Timing(cron="61 * * * *"), "cron", "The minute is not valid: 0 to 59"),
        (Timing(cron="0 24 * * *"), "cron", "The hour is not valid"),
        (Timing(cron="0 0 * * FOO"), "cron", "The day of the week is not valid"),
        (Timing(cron="0 0 30 2 *"), "cron", "the day has to exist"),
        (Timing(cron="*/0 * * * *"), "cron", "The minute is not valid"),
        (Timing(cron="@reboot"), "cron", "@reboot is not known"),
        (Timing(cron="0 0 * * *", timezone="Mars/Olympus"), "timezone", "no time zone 'Mars/Olympus'"),
        (Timing(cron="0 0 * * *", timezone="../../etc/passwd"), "timezone", "no time zone"),
        (Timing(every=0), "every", "between 1 and"),
        (Timing(), "cron", "one of cron, every and at"),
        (Timing(cron="0 0 * * *", every=5), "cron", "one of cron, every and at"),
    ],
)
def test_what_cannot_be_read_is_told(timing: Timing, field: str, told: str) -> None:
    with pytest.raises(BadTiming, match=told.replace("(", r"\(")) as bad:
        timing.check()
    assert bad.value.field == field


def test_an_interval_counts_from_its_anchor() -> None:
    anchor = dt.datetime(2026, 1, 1, 0, 0, 30, tzinfo=dt.UTC)
    timing = Timing(every=90, anchor=anchor)
    assert timing.next(anchor - dt.timedelta(days=1)) == anchor
    assert timing.next(anchor) == anchor + dt.timedelta(seconds=90)
    assert timing.next(anchor + dt.timedelta(seconds=1_000)) == anchor + dt.timedelta(seconds=1_080)


def test_a_single_time_comes_once() -> None:
    at = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    assert upcoming(Timing(at=at), at - dt.timedelta(1), 5) == [at]
    assert Timing(at=at).next(at) is None


def test_the_last_ticks_of_a_long_time_are_found_without_walking_through_all() -> None:
    until = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
    since = until - dt.timedelta(days=3_000)
    for timing in (Timing(cron="* * * * *"), Timing(every=1, anchor=since)):
        found = timing.within(since, until, 3)
        assert len(found) == 3 and found[-1] == until


crons = st.tuples(
    st.sampled_from(["0", "30", "59", "*/7", "*", "5,50", "10-20/5"]),
    st.sampled_from(["0", "1", "2", "3", "*/2", "*", "1-3", "2,14", "23", "0-23"]),
    st.sampled_from(["*", "1", "L", "*/3"]),
    st.sampled_from(["*", "3", "MAR,OCT,NOV"]),
    st.sampled_from(["*", "SUN", "1-5"]),
).map(" ".join)
moments = st.datetimes(dt.datetime(2025, 1, 1), dt.datetime(2028, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001


@settings(max_examples=150, deadline=None)
@given(cron=crons, zone=st.sampled_from(ZONES), since=moments)
def test_ticks_rise_and_do_not_depend_on_where_one_begins_to_count(
    cron: str, zone: str, since: dt.datetime
) -> None:
    timing = Timing(cron=cron, timezone=zone)
    ticks = upcoming(timing, since, 6)
    assert since < ticks[0] and all(a < b for a, b in pairwise(ticks))
    one_by_one = [since]
    while len(one_by_one) < 7:
        one_by_one.append(timing.next(one_by_one[-1]) or since)
    assert one_by_one[1:] == ticks
    assert timing.within(ticks[0], ticks[-1], 10) == ticks
    between = ticks[2] + (ticks[3] - ticks[2]) / 2
    assert timing.next(between) == ticks[3]


@settings(max_examples=60, deadline=None)
@given(zone=st.sampled_from(ZONES), hour=st.integers(0, 23), minute=st.integers(0, 59), since=moments)
def test_a_daily_time_comes_exactly_once_on_each_day(
    zone: str, hour: int, minute: int, since: dt.datetime
) -> None:
    ticks = upcoming(Timing(cron=f"{minute} {hour} * * *", timezone=zone), since, 400)
    days = [tick.astimezone(ZoneInfo(zone)).date() for tick in ticks]
    assert all(later - earlier == dt.timedelta(1) for earlier, later in pairwise(days))
