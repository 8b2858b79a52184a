from __future__ import annotations

import time
import uuid

import pytest

from polos import _ids


def test_ids_are_version_7_and_rise() -> None:
    ids = [_ids.new_id() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}


def test_ids_made_together_rise_too_and_keep_their_place_among_others() -> None:
    ids = [each for _ in range(50) for each in (_ids.new_id(), *_ids.new_ids(40), *_ids.new_ids(1), _ids.new_id())]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}
    assert {str(uuid.UUID(each)) for each in ids} == set(ids)
    assert _ids.new_ids(0) == []


def test_an_id_tells_when_it_was_made() -> None:
    before = time.time()
    made = (uuid.UUID(_ids.new_id()).int >> 80) / 1000
    assert before - 0.002 <= made <= time.time() + 0.002
    (one,) = _ids.new_ids(1)
    assert before - 0.002 <= (uuid.UUID(one).int >> 80) / 1000 <= time.time() + 0.002


def test_a_clock_that_steps_back_does_not_make_ids_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _ids.new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)
    second = _ids.new_ids(3)
    assert first < second[0]
    assert second[2] < _ids.new_id()


def test_a_step_has_the_same_child_in_every_attempt() -> None:
    parent = _ids.new_id()
    assert _ids.child_id(parent, "a") == _ids.child_id(parent, "a") != _ids.child_id(parent, "b")


def test_a_child_sorts_with_its_parent_and_is_a_uuid_of_version_7() -> None:
    parent = _ids.new_id()
    child = uuid.UUID(_ids.child_id(parent, "a"))
    assert child.version == 7
    assert child.int >> 80 == uuid.UUID(parent).int >> 80
