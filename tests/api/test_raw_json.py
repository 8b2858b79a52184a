"""Raw JSON that may be stored, and what may not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from queues.rawjson import MAX_NESTING, all_fine, problem

BIG = 1 << 20

GOOD = [
    b"null",
    b"{}",
    b'{"a":[1,2.5,"x"]}',
    b"18446744073709551615",
    b"-9223372036854775808",
    b"1e308",
    b"1e-400",
    b"-0",
    b'"\\ud83d\\udc0e"',
    b'"\\\\u0000"',
    b'["\\\\\\\\u0000"]',
    b'{"18446744073709551616":1}',
    b"[" * MAX_NESTING + b"]" * MAX_NESTING,
    b'["' + b"[" * 500 + b'"]',
    b"[" + b"[]," * 500 + b"[]]",
]
BAD = {
    b"NaN": "valid JSON",
    b"[Infinity]": "valid JSON",
    b"[-Infinity]": "valid JSON",
    b"": "valid JSON",
    b"[1,]": "valid JSON",
    b"{'a':1}": "valid JSON",
    b"01": "valid JSON",
    b"[1] 2": "valid JSON",
    b'"\\ud800"': "valid JSON",
    b'"\\ud800x12345678"': "valid JSON",
    b'"\\udc00\\ud800"': "valid JSON",
    b'"\x00"': "valid JSON",
    b'"\\u0000"': "U+0000",
    b'{"\\u0000":1}': "U+0000",
    b'[["\\\\\\u0000"]]': "U+0000",
    b'"\xff"': "UTF-8",
    b'"\xed\xa0\x80"': "UTF-8",
    b'{"\xc0\x80":1}': "UTF-8",
    b"1e400": "64 bits",
    b"[-1E999]": "64 bits",
    b"18446744073709551616": "64 bits",
    b"[-9223372036854775809]": "64 bits",
    b'{"a":' + b"9" * 5_000 + b"}": "64 bits",
    b"[" * 65 + b"]" * 65: "64 levels",
    b'{"a":' * 65 + b"1" + b"}" * 65: "64 levels",
    b"[" * 3_000 + b"]" * 3_000: "64 levels",
    b"[" * 200_000 + b"]" * 200_000: "64 levels",
    b"[" * 300_000: "",
    b'["' + b"]" * 100 + b'",' + b"[" * 64 + b"]" * 64 + b"]": "64 levels",
}


@pytest.mark.parametrize("raw", GOOD, ids=lambda raw: repr(raw[:20]))
def test_it_may_be_stored_and_read_back(raw: bytes) -> None:
    assert problem(raw, BIG) is None
    json.dumps(json.loads(raw), ensure_ascii=False).encode()


@pytest.mark.parametrize(("raw", "word"), BAD.items(), ids=lambda value: repr(value[:20]))
def test_it_may_not_be_stored(raw: bytes, word: str) -> None:
    found = problem(raw, BIG)
    assert found is not None
    assert word in found


@pytest.mark.parametrize("raw", BAD, ids=lambda raw: repr(raw[:20]))
def test_a_bad_one_is_seen_among_others(raw: bytes) -> None:
    for raws in ([raw], [b"1", raw], [raw, b'"x"'], [b"[]", raw, b"{}"]):
        assert not all_fine([Raw(each) for each in raws], BIG)


def test_good_ones_are_seen_to_be_fine_together() -> None:
    # What only looks as if it were nested too deep, or had U+0000, is left to a closer look.
    plain = [Raw(raw) for raw in GOOD if raw.count(b"[") <= MAX_NESTING and b"u0000" not in raw]
    assert len(plain) > 8
    assert all_fine(plain, BIG)
    assert all_fine([Raw(b'{"n":1}')] * 1_000, 7)
    assert not all_fine([Raw(b'{"n":1}'), Raw(b'{"n":12}')], 7)


def test_size_counts_bytes() -> None:
    assert problem('"ž"'.encode(), 4) is None
    assert "5 bytes" in (problem('"žž"'.encode()[:5], 4) or "")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(json_values, st.booleans())
def test_whatever_json_can_hold_is_stored_unless_it_has_null_characters(value: object, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii)
    assert (problem(text.encode(), BIG) is None) == ("\\u0000" not in text.replace("\\\\", ""))


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail(raw: bytes) -> None:
    if problem(raw, BIG) is None:
        json.loads(raw)
