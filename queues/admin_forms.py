"""Forms of the admin. They check; the verbs in `queues.limits` and `queues.keys` write, never `Model.save()`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.auth.models import Group
from django.utils import timezone

from .access import Role
from .models import ApiKey, Grant, Queue
from .names import pattern_problem
from .requests import MAX_LIMIT

# Generic for the type checker only.
if TYPE_CHECKING:
    _QueueModelForm = forms.ModelForm[Queue]
    _KeyModelForm = forms.ModelForm[ApiKey]
    _GrantModelForm = forms.ModelForm[Grant]
else:
    _QueueModelForm = _KeyModelForm = _GrantModelForm = forms.ModelForm

NOTHING_STARTS = "0 means that nothing starts."
EMPTY = "Empty: no override, the declared limit counts."


class _NotWritten(_QueueModelForm):
    """A form over a row that others may be writing: it leaves the row alone."""

    def _post_clean(self) -> None:
        pass


class _Limit(forms.IntegerField):
    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, min_value=0, max_value=MAX_LIMIT, **options)


# -- the override limit in the list ----------------------------------------------------------------


class LimitAndVersion(forms.MultiWidget):
    """The number to edit, and beside it the version of the queue that the reader saw."""

    def __init__(self) -> None:
        number = forms.NumberInput(attrs={"min": 0, "max": MAX_LIMIT, "title": f"{EMPTY} {NOTHING_STARTS}"})
        super().__init__({"": number, "version": forms.HiddenInput()})

    def decompress(self, value: Any) -> list[Any]:
        return list(value) if value else [None, None]


class LimitAndVersionField(forms.MultiValueField):
    def __init__(self) -> None:
        fields = (_Limit(), forms.IntegerField())
        super().__init__(fields, required=False, require_all_fields=False, widget=LimitAndVersion())

    def compress(self, data_list: list[Any]) -> tuple[int | None, int | None]:
        limit, version = data_list or (None, None)
        return (limit if limit != "" else None), version

    def has_changed(self, initial: Any, data: Any) -> bool:
        limit = initial[0] if initial else None
        return self.fields[0].has_changed(limit, data[0] if data else "")


class QueueRowForm(_NotWritten):
    override_limit = LimitAndVersionField()

    class Meta:
        model = Queue
        fields = ("override_limit",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["override_limit"] = (self.instance.override_limit, self.instance.version)
        number = self.fields["override_limit"].widget.widgets[0]
        number.attrs["aria-label"] = f"Override limit of {self.instance.name}"

    def clean_override_limit(self) -> tuple[int | None, int | None]:
        limit, version = cast("tuple[int | None, int | None]", self.cleaned_data["override_limit"])
        if self.has_changed() and version != self.instance.version:
            raise forms.ValidationError("Somebody changed this queue since you opened the list. Load it again.")
        return limit, version


# -- one queue -------------------------------------------------------------------------------------


class QueueForm(_NotWritten):
    override_limit = _Limit(help_text=f"{EMPTY} {NOTHING_STARTS} What runs is never stopped.")
    unlimited = forms.BooleanField(required=False, help_text="An override without a limit.")
    override_reason = forms.CharField(required=False, max_length=500)
    override_until = forms.SplitDateTimeField(
        required=False, widget=AdminSplitDateTime(), help_text="Then the declared limit counts again."
    )
    paused = forms.BooleanField(required=False, help_text="Nothing starts. What runs goes on.")
    paused_reason = forms.CharField(required=False, max_length=500)
    paused_until = forms.SplitDateTimeField(
        required=False, widget=AdminSplitDateTime(), help_text="Then it goes on by itself."
    )
    expected_version = forms.IntegerField(widget=forms.HiddenInput)

    OVERRIDE = frozenset(("override_limit", "unlimited", "override_reason", "override_until"))
    PAUSE = frozenset(("paused", "paused_reason", "paused_until"))

    class Meta:
        model = Queue
        fields = (
            "override_limit",
            "override_reason",
            "override_until",
            "paused",
            "paused_reason",
            "paused_until",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        queue = self.instance
        self.initial["unlimited"] = queue.overridden and queue.override_limit is None
        self.initial["expected_version"] = queue.version

    def clean(self) -> dict[str, Any]:
        data = cast("dict[str, Any]", super().clean())
        if data.get("unlimited") and data.get("override_limit") is not None:
            self.add_error("override_limit", "Choose a number or unlimited, not both.")
        if data.get("override_until") and not self.overrides:
            self.add_error("override_until", "Without an override there is nothing to end.")
        if data.get("paused_until") and not data.get("paused"):
            self.add_error("paused_until", "Without a pause there is nothing to end.")
        for name in ("override_until", "paused_until"):
            self._check_end(name, data.get(name))
        if data.get("expected_version") != self.instance.version:
            raise forms.ValidationError(
                "Somebody changed this queue since you opened this page; see its history below. "
                "Nothing was changed: load the page again, then decide."
            )
        return data

    def _check_end(self, name: str, until: dt.datetime | None) -> None:
        if until and name in self.changed_data and until <= timezone.now():
            self.add_error(name, "The end is in the past: choose a later one, or none.")

    @property
    def overrides(self) -> bool:
        return bool(self.cleaned_data.get("unlimited")) or self.cleaned_data.get("override_limit") is not None

    @property
    def override_changed(self) -> bool:
        return not self.OVERRIDE.isdisjoint(self.changed_data)

    @property
    def pause_changed(self) -> bool:
        return not self.PAUSE.isdisjoint(self.changed_data)


# -- API keys --------------------------------------------------------------------------------------


class NewKeyForm(_KeyModelForm):
    queue_patterns = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text="One per line, * stands for any characters: billing/*. Empty: every queue.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scope", "queue_patterns")

    def clean_queue_patterns(self) -> list[str]:
        patterns: list[str] = self.cleaned_data["queue_patterns"].split()
        if problem := next(filter(None, map(pattern_problem, patterns)), None):
            raise forms.ValidationError(problem)
        return patterns


# -- grants ----------------------------------------------------------------------------------------


class GrantForm(_GrantModelForm):
    class Meta:
        model = Grant
        fields = ("user", "group", "pattern", "level")
        help_texts = {"pattern": "A queue name in which * stands for any characters: billing/*."}  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "group" in self.fields:
            cast("Any", self.fields["group"]).queryset = Group.objects.exclude(name__in=list(Role))

    def clean(self) -> dict[str, Any]:
        data = cast("dict[str, Any]", super().clean())
        if "user" in self.fields and bool(data.get("user")) is bool(data.get("group")):
            raise forms.ValidationError("Choose a person or a team, not both.")
        return data

    def clean_pattern(self) -> str:
        pattern: str = self.cleaned_data["pattern"]
        if problem := pattern_problem(pattern):
            raise forms.ValidationError(problem)
        return pattern
