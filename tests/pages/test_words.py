"""Numbers, times and JSON as they are read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queues import words
from queues.indent import indented


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"), (-3, "0 ms"), (0, "0 ms"), (0.0064, "6 ms"), (0.05, "0.1 s"), (0.44, "0.4 s"), (9.9, "9.9 s"),
        (9.96, "9 s"), (59.9, "59 s"), (60, "1 min"), (72, "1 min 12 s"), (600, "10 min"), (3599, "59 min"),
        (3600, "1 h"), (11100, "3 h 5 min"), (187200, "2 d 4 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("per_minute", "said"), [(0, "0"), (0.4, "0.4"), (31, "31"), (612.4, "612"), (1900, "1.9k"), (250_000, "250k")]
)
def test_rates(per_minute: float, said: str) -> None:
    assert words.rate(per_minute) == said


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_indented_json_means_the_same(value: object) -> None:
    assert json.loads(indented(json.dumps(value))) == value


@given(st.text())
def test_what_is_not_json_does_not_break_the_page(text: str) -> None:
    indented(text)


def test_numbers_keep_their_digits() -> None:
    assert indented("[1e400,1.00000000000000000001]") == "[\n  1e400,\n  1.00000000000000000001\n]"
