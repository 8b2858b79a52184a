"""What people send from the pages, checked on the server; and what a change would do, in a sentence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.utils import timezone

from . import bulk, words
from .access import Role
from .ends import BadEnd, end
from .engine.operate import MOST_PRIORITY
from .gauges import Gauge
from .models import Grant
from .names import pattern_problem
from .requests import MAX_LIMIT

LASTS = (
    ("", "until someone changes it"),
    ("900", "15 minutes"),
    ("1800", "30 minutes"),
    ("3600", "1 hour"),
    ("14400", "4 hours"),
    ("86400", "1 day"),
)


def given_reason() -> forms.CharField:
    """Of an act that must say why."""
    return forms.CharField(
        max_length=500, error_messages={"required": "Say why, in a few words: the others read it in the trail."}
    )


class _Timed(forms.Form):
    """A change with a reason, an optional end, and the version of the queue that the person saw."""

    end: dt.datetime | None = None  # what `ends` says

    reason = given_reason()
    lasts = forms.ChoiceField(choices=LASTS, required=False)
    ends = forms.CharField(max_length=60, required=False)  # as a person writes it; counts instead of `lasts`
    zone = forms.CharField(max_length=60, required=False)  # in which it is meant
    expected_version = forms.IntegerField(min_value=0, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if said := cleaned.get("ends"):
            try:
                self.end = end(said, cleaned.get("zone", ""), timezone.now())
            except BadEnd as bad:
                self.add_error("ends", str(bad))
        return cleaned

    @property
    def until(self) -> dt.datetime | None:
        if self.end is not None:
            return self.end
        seconds = self.cleaned_data["lasts"]
        return timezone.now() + dt.timedelta(seconds=int(seconds)) if seconds else None


class LimitForm(_Timed):
    class Choice:
        NUMBER, UNLIMITED, DECLARED = "number", "unlimited", "declared"

    choice = forms.ChoiceField(
        choices=(("number", "a number"), ("unlimited", "unlimited"), ("declared", "back to declared")),
        error_messages={"required": "Choose a number, unlimited, or back to the declared limit."},
    )
    limit = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_LIMIT,
        error_messages={
            "invalid": "A limit is a whole number.",
            "min_value": "A limit cannot be below 0. To let nothing start, use 0.",
            "max_value": f"A limit is at most {MAX_LIMIT:,}. For no limit at all, choose unlimited.",
        },
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if (
            cleaned.get("choice") == self.Choice.NUMBER
            and cleaned.get("limit") is None
            and "limit" not in self.errors
        ):
            self.add_error("limit", "Enter a number, or choose unlimited.")
        return cleaned

    @property
    def new_limit(self) -> int | None:
        """Of an override; empty = unlimited."""
        limit: int | None = self.cleaned_data.get("limit")
        return limit if self.cleaned_data.get("choice") == self.Choice.NUMBER else None


class PauseForm(_Timed):
    pass


class MomentField(forms.DateTimeField):
    """When a dialog was opened. A year that PostgreSQL or Python cannot hold must not get into a row."""

    def clean(self, value: Any) -> dt.datetime | None:
        moment: dt.datetime | None = super().clean(value)
        if moment is not None and not 2000 <= moment.year < 2200:
            raise forms.ValidationError("This form does not say when it was opened: open it again.")
        return moment


class PurgeForm(forms.Form):
    """`confirm` is the queue's name, typed. `at` is when the dialog was opened: what came later stays."""

    confirm = forms.CharField(max_length=200, required=False)
    scheduled = forms.BooleanField(required=False)
    reason = given_reason()
    at = MomentField()
    act = forms.UUIDField()
    expected_version = forms.IntegerField(min_value=0, required=False)

    def __init__(self, *args: Any, queue: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.queue = queue

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"]
        if typed.strip() != self.queue:
            raise forms.ValidationError(f"To purge it, type its name: {self.queue}")
        return typed


class ReasonForm(forms.Form):
    reason = given_reason()
    expected_version = forms.IntegerField(min_value=0, required=False)


class ResumeForm(forms.Form):
    reason = forms.CharField(max_length=500, required=False)
    expected_version = forms.IntegerField(min_value=0, required=False)


class _SeenField(forms.CharField):
    """The queues that a dialog showed, each in the version that it showed."""

    def clean(self, value: Any) -> list[bulk.Seen]:
        seen = bulk.read(super().clean(value))
        if not seen:
            raise forms.ValidationError("This form does not say which queues it means: open it again.")
        return seen


class _Many(forms.Form):
    seen = _SeenField()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for problem in self.errors.pop("seen", ()):  # there is no input beside which it could be shown
            self.add_error(None, problem)
        return cleaned


class ManyPauseForm(_Many, _Timed):
    pass


class ManyResumeForm(_Many, ResumeForm):
    pass


class RerunForm(forms.Form):
    payload = forms.CharField(required=False, strip=False)  # JSON, checked where it is stored
    reason = forms.CharField(max_length=500, required=False)


class PriorityForm(forms.Form):
    priority = forms.IntegerField(
        min_value=-MOST_PRIORITY,
        max_value=MOST_PRIORITY,
        error_messages={
            "required": "Say how many seconds.",
            "invalid": "A head start is a whole number of seconds.",
            "min_value": f"A head start is at least -{MOST_PRIORITY:,} seconds.",
            "max_value": f"A head start is at most {MOST_PRIORITY:,} seconds.",
        },
    )
    reason = forms.CharField(max_length=500, required=False)


class BulkForm(PriorityForm):
    """What a dialog about many executions sends back: what it counted, and when."""

    reason = given_reason()
    act = forms.UUIDField(required=False)
    at = MomentField()
    counted = forms.IntegerField(min_value=0, max_value=2**31 - 1, required=False)
    all = forms.BooleanField(required=False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["priority"].required = self.data.get("verb") == "priority"


class InviteForm(forms.Form):
    username = forms.CharField(max_length=150, validators=[get_user_model().username_validator])
    role = forms.ChoiceField(
        choices=[*((role.value, role.value) for role in Role), ("", "no role, only grants")],
        initial=Role.VIEWER.value,
        required=False,
    )

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if get_user_model().objects.filter(username__iexact=name).exists():
            raise forms.ValidationError("Somebody has this name already.")
        return name


class SeenForm(forms.Form):
    """`seen` is the version of a person's or team's rights that the dialog showed."""

    seen = forms.IntegerField(min_value=0, max_value=2**63 - 1, required=False)


class RoleForm(SeenForm):
    NONE = "none"  # no role: a form without a choice must not take one away

    choice = forms.ChoiceField(choices=[*((role.value, role.value) for role in Role), (NONE, "no role")])


class GrantForm(SeenForm):
    pattern = forms.CharField(
        max_length=200, error_messages={"required": "Which queues? A name, or a pattern such as billing/*."}
    )
    level = forms.ChoiceField(choices=Grant.Level.choices, initial=Grant.Level.SEE.value)

    def clean_pattern(self) -> str:
        pattern: str = self.cleaned_data["pattern"]
        if problem := pattern_problem(pattern):
            raise forms.ValidationError(problem)
        return pattern


# -- what will happen ------------------------------------------------------------------------------


def consequence_of_limit(gauge: Gauge, limit: int | None) -> str:
    """What a new effective limit does to what runs and waits now."""
    held = gauge.held
    if gauge.paused:
        return "The queue is paused: the new limit counts once it is resumed."
    if limit == 0:
        left = f" {_are(held)} running will finish, none is killed." if held else ""
        return f"0: nothing starts any more.{left}"
    if limit is not None and held > limit:
        over = held - limit
        return (
            f"{_are(over)} above the new limit and will finish, none is killed. "
            f"Nothing starts until fewer than {limit} {'is' if limit == 1 else 'are'} running."
        )
    return _starts(gauge, gauge.waiting if limit is None else min(gauge.waiting, limit - held))


def consequence_of_pause(gauge: Gauge) -> str:
    held = gauge.held
    running = f"{_are(held)} running and will finish, none is killed." if held else "Nothing runs now."
    return f"{running} Nothing starts until the queue is resumed; what arrives meanwhile waits in order."


def consequence_of_resume(gauge: Gauge) -> str:
    return _starts(gauge, min(gauge.waiting, _room(gauge)))


def consequence_of_drain(gauge: Gauge) -> str:
    left = [
        f"{number:,} {word}"
        for number, word in (
            (gauge.held, "running"),
            (gauge.waiting, "waiting"),
            (gauge.scheduled, "scheduled for later"),
        )
        if number
    ]
    there = f"What is there is finished: {', '.join(left)}. " if left else "Nothing is left to finish. "
    return (
        "New executions are refused: whoever sends one gets error 409, schedules skip ticks, and children of "
        f"what runs are still taken. {there}It can be undone at any time."
    )


def consequence_of_purge(gauge: Gauge) -> str:
    running = (
        f"{_are(gauge.held)} running and will finish, none is touched." if gauge.held else "Nothing runs now."
    )
    return (
        f"{words.counted(gauge.waiting, 'waiting execution')}{'+' if gauge.waiting_is_capped else ''} "
        f"{'is' if gauge.waiting == 1 else 'are'} cancelled, in the background; whoever waits for one learns it. "
        f"{running} What arrives from now on stays. It can be undone only as far as each can be retried, in a "
        "new place."
    )


def consequence_of_accepting(gauge: Gauge) -> str:
    return (
        "New executions are taken again. What was refused meanwhile does not come back by itself. It can be "
        "undone: drain it again."
    )


def consequence_of_pauses(affected: Sequence[Gauge], others: int) -> str:
    """`others` are in the scope too, and paused already."""
    if not affected:
        return "They are paused already: nothing would change." if others else "No queue is chosen."
    held, waiting = sum(gauge.held for gauge in affected), sum(gauge.waiting for gauge in affected)
    running = f"{_are(held)} running and will finish, none is killed." if held else "Nothing runs in them now."
    there = f"{_waiting(waiting)} until they are resumed, and what arrives meanwhile, in order."
    wait = f" {there}" if waiting else " What arrives meanwhile waits in order until they are resumed."
    stay = f" {_are(others)} paused already and keep{'s' if others == 1 else ''} reason and end." if others else ""
    return f"{running}{wait}{stay} It can be undone: resume them together."


def consequence_of_resumptions(affected: Sequence[Gauge], others: int) -> str:
    """`others` are in the scope too, and not paused."""
    if not affected:
        return "None of them is paused: nothing would change." if others else "No queue is chosen."
    waiting = sum(gauge.waiting for gauge in affected)
    starting = sum(min(gauge.waiting, _room(gauge)) for gauge in affected if gauge.workers)
    most = f"at most {starting:,}" if starting else "none"
    starts = f"{_waiting(waiting)}; {most} can start at once." if waiting else "Nothing waits."
    stay = f" {_are(others)} not paused, and nothing changes there." if others else ""
    return f"{starts}{stay} It can be undone: pause them again; what has started goes on."


def _room(gauge: Gauge) -> int:
    return gauge.waiting if gauge.limit is None else max(0, gauge.limit - gauge.held)


def _waiting(number: int) -> str:
    return f"{words.counted(number, 'execution')} {'waits' if number == 1 else 'wait'}"


def _starts(gauge: Gauge, number: int) -> str:
    if not gauge.waiting:
        return "Nothing waits, so nothing starts at once."
    if not gauge.workers:
        return f"{_wait(gauge)}, but no worker serves this queue now."
    if number <= 0:
        return f"{_wait(gauge)}; the next starts when a running one finishes."
    if number >= gauge.waiting and not gauge.waiting_is_capped:
        return f"{words.counted(number, 'waiting execution')} can start at once, as far as workers have room."
    return f"{number:,} of {gauge.waiting:,} waiting can start at once, as far as workers have room."


def _wait(gauge: Gauge) -> str:
    return f"{gauge.waiting:,} {'waits' if gauge.waiting == 1 else 'wait'}"


def _are(number: int) -> str:
    return f"{number:,} {'is' if number == 1 else 'are'}"
