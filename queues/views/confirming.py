"""A dialog that says what an act would do, and whether it can be undone; without JavaScript a page of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .replies import is_htmx


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What somebody is asked before an act; `button` empty: it is not possible, and `consequence` says why."""

    title: str
    subject: str
    consequence: str
    button: str
    back: str
    hidden: Mapping[str, object] = field(default_factory=dict)
    danger: bool = False
    noted: bool = False  # a note for the trail may be given
    legend: str = ""
    choices: Sequence[tuple[str, str, str]] = ()  # value, label, what it means
    chosen: str = ""


def confirm(request: HttpRequest, asked: Confirmation, *, problem: str = "", status: int = 200) -> HttpResponse:
    """`problem` is why it was refused when it was sent before."""
    template = "confirm.html#dialog" if is_htmx(request) else "confirm.html"
    return render(request, template, {"asked": asked, "problem": problem}, status=status)
