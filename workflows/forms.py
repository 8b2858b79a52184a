"""What people send about schedules, checked on the server."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms

from .models import Schedule
from .schedules import Spec
from .timing import BadTiming, zone_of

UNITS = (("1", "seconds"), ("60", "minutes"), ("3600", "hours"), ("86400", "days"))
CONTINENTS = {
    "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific",
}  # fmt: skip
FIELDS = {"queue": "queue", "at": "at", "every": "every"}  # of a Spec, by which a problem is told


class ScheduleForm(forms.Form):
    """`kind` says which of cron, every (with its unit) and at counts; `at` is a time of day in the time zone."""

    workflow = forms.CharField(max_length=200, error_messages={"required": "Which workflow should start?"})
    name = forms.CharField(max_length=200, required=False)
    kind = forms.ChoiceField(choices=(("cron", "cron"), ("every", "every"), ("at", "at")))
    cron = forms.CharField(max_length=200, required=False)
    timezone = forms.CharField(max_length=100, required=False)
    every = forms.IntegerField(
        min_value=1, required=False, error_messages={"invalid": "An interval is a whole number."}
    )
    unit = forms.ChoiceField(choices=UNITS, required=False)
    at = forms.DateTimeField(
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        error_messages={"invalid": "Choose a day and a time of day, like 2030-01-31 12:00."},
    )
    queue = forms.CharField(max_length=200, required=False)
    payload = forms.CharField(required=False, strip=True)
    catch_up = forms.ChoiceField(choices=Schedule.CatchUp.choices, required=False)
    catch_up_most = forms.IntegerField(min_value=1, max_value=1_000, required=False)
    overlap = forms.ChoiceField(choices=Schedule.Overlap.choices, required=False)
    expected_version = forms.IntegerField(min_value=0, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        kind = cleaned.get("kind")
        asked = {
            "cron": "When should it tick?",
            "every": "How often should it tick?",
            "at": "When should it tick?",
        }
        if kind and not cleaned.get(kind) and kind not in self.errors:
            self.add_error(kind, asked[kind])
        return cleaned

    def clean_at(self) -> dt.datetime | None:
        at: dt.datetime | None = self.cleaned_data["at"]
        if at is not None and not 2000 <= at.year < 2200:  # in another zone, the last year has no more moments
            raise forms.ValidationError("Choose a day between the years 2000 and 2200.")
        return at

    def spec(self) -> Spec:
        """Of a valid form."""
        said = self.cleaned_data
        kind, zone = said["kind"], said["timezone"] or "UTC"
        return Spec(
            name=said["name"] or said["workflow"],
            workflow=said["workflow"],
            cron=said["cron"] if kind == "cron" else "",
            timezone=zone,
            every=said["every"] * int(said["unit"] or 1) if kind == "every" else None,
            at=_at(said["at"], zone) if kind == "at" else None,
            queue=said["queue"],
            payload=said["payload"] or None,
            catch_up=said["catch_up"] or Schedule.CatchUp.LATEST.value,
            catch_up_most=said["catch_up_most"] or 100,
            overlap=said["overlap"] or Schedule.Overlap.ALLOW.value,
        )

    def refuse(self, field: str, sentence: str) -> None:
        self.add_error(field if field in self.fields else None, sentence)


def initial(row: Schedule) -> dict[str, Any]:
    """What the form shows of a schedule that exists."""
    kind = "cron" if row.cron else "every" if row.every is not None else "at"
    unit = next((int(unit) for unit, _ in reversed(UNITS) if (row.every or 1) % int(unit) == 0), 1)
    return {
        "workflow": row.workflow,
        "name": row.name,
        "kind": kind,
        "cron": row.cron,
        "timezone": row.timezone,
        "every": "" if row.every is None else row.every // unit,
        "unit": str(unit),
        "at": _wall(row),
        "queue": row.queue.name if row.queue else "",
        "payload": row.payload or "",
        "catch_up": row.catch_up,
        "catch_up_most": row.catch_up_most,
        "overlap": row.overlap,
        "expected_version": row.version,
    }


@cache
def zones() -> tuple[str, ...]:
    return ("UTC", *sorted(name for name in available_timezones() if name.split("/")[0] in CONTINENTS))


def _at(at: dt.datetime, zone: str) -> dt.datetime:
    """Django has read it as UTC; what was meant is the time of day in the time zone."""
    try:
        return at.replace(tzinfo=zone_of(zone)).astimezone(dt.UTC)
    except BadTiming:
        return at  # refused for its zone


def _wall(row: Schedule) -> str:
    if row.at is None:
        return ""
    try:
        return f"{row.at.astimezone(zone_of(row.timezone)):%Y-%m-%dT%H:%M}"
    except BadTiming:
        return ""
