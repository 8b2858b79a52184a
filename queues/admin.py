"""The Django admin: limits and pauses through the same verbs as the pages, keys, people; the rest to look at.

Nothing here saves a whole row. Who may come in is decided in `queues.access`, as everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from . import grants, keys, limits, words
from .access import Action, may, sight
from .admin_forms import GrantForm, NewKeyForm, QueueForm, QueueRowForm
from .models import ApiKey, Change, Execution, Grant, PersonChange, Queue, Status, Worker

# Generic for the type checker only.
if TYPE_CHECKING:
    _QueueAdmin = admin.ModelAdmin[Queue]
    _ExecutionAdmin = admin.ModelAdmin[Execution]
    _WorkerAdmin = admin.ModelAdmin[Worker]
    _ApiKeyAdmin = admin.ModelAdmin[ApiKey]
    _ChangeInline = admin.TabularInline[Change, Queue]
    _ChangeFormSet = BaseInlineFormSet[Change, Queue, Any]
    _UserAdmin = UserAdmin[User]
    _GrantAdmin = admin.ModelAdmin[Grant]
    _PersonChangeAdmin = admin.ModelAdmin[PersonChange]
    _Paginator = Paginator[Any]
else:
    _QueueAdmin = _ExecutionAdmin = _WorkerAdmin = _ApiKeyAdmin = admin.ModelAdmin
    _GrantAdmin = _PersonChangeAdmin = admin.ModelAdmin
    _ChangeInline, _ChangeFormSet = admin.TabularInline, BaseInlineFormSet
    _UserAdmin, _Paginator = UserAdmin, Paginator

ADMIN = Change.Through.ADMIN
COUNT_CAP = 10_000
MOST_CHANGES = 50
MOST_CHOSEN = 100  # executions in one act; more would not fit into an address
MOST_FILTERED = 100  # queues offered as a filter

admin.site.site_header = admin.site.site_title = "Polos admin"
admin.site.index_title = "Limits, keys and people"


# -- who may what ----------------------------------------------------------------------------------


class _Guarded:
    """Access by role and grants, from `queues.access`. `adds` and `changes` name what the page offers at all.

    What is about a queue is there only for those who may `action` on it: `of_queues` is the way to the queue.
    """

    action = Action.LIMIT
    adds = changes = deletes = False
    of_queues = ""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, self.action)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, self.action)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.adds and may(request.user, self.action)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.changes and may(request.user, self.action)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.deletes and may(request.user, self.action)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]
        mine = sight(request.user, self.action).queue_ids() if self.of_queues else None
        return found if mine is None else found.filter(**{f"{self.of_queues}__in": mine}).distinct()


# -- queues ----------------------------------------------------------------------------------------


class _NewestChanges(_ChangeFormSet):
    def get_queryset(self) -> Any:
        return super().get_queryset()[:MOST_CHANGES]


class ChangeInline(_Guarded, _ChangeInline):
    model = Change
    formset = _NewestChanges
    verbose_name_plural = f"history (the newest {MOST_CHANGES})"
    fields = readonly_fields = ("at", "kind", "before", "after", "actor", "reason", "through", "until")
    extra = max_num = 0
    can_delete = False


@admin.register(Queue)
class QueueAdmin(_Guarded, _QueueAdmin):
    changes = True
    of_queues = "id"
    form = QueueForm
    inlines = (ChangeInline,)
    list_display = ("name", "effective", "declared", "override_limit", "override", "pause")
    list_editable = ("override_limit",)
    list_filter = ("overridden", "paused")
    list_per_page = 100
    search_fields = ("name",)
    search_help_text = "Part of a name. In the list, an empty override is none, and 0 means that nothing starts."
    actions = None
    readonly_fields = ("name", "effective", "declared", "declared_by", "declared_at", "override_by", "paused_by")
    fieldsets = (
        (None, {"fields": ("name", "effective", "declared", "declared_by", "declared_at", "expected_version")}),
        (
            "Override",
            {"fields": ("override_limit", "unlimited", "override_reason", "override_until", "override_by")},
        ),
        ("Pause", {"fields": ("paused", "paused_reason", "paused_until", "paused_by")}),
    )

    @admin.display(description="effective", ordering="effective_limit")
    def effective(self, queue: Queue) -> str:
        word = words.limit(queue.effective_limit)
        return f"{word}: nothing starts" if queue.effective_limit == 0 else word

    @admin.display(description="declared", ordering="declared_limit")
    def declared(self, queue: Queue) -> str:
        return words.limit(queue.declared_limit)

    @admin.display(description="set by", ordering="override_by")
    def override(self, queue: Queue) -> str:
        if not queue.overridden:
            return ""
        until = f", until {words.clock(queue.override_until)}" if queue.override_until else ""
        why = f": {queue.override_reason}" if queue.override_reason else ""
        return f"{'unlimited by ' if queue.override_limit is None else ''}{queue.override_by}{why}{until}"

    @admin.display(description="pause", ordering="paused")
    def pause(self, queue: Queue) -> str:
        return f"paused by {queue.paused_by}" if queue.paused else ""

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        return QueueRowForm

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        """Calls the verbs. What they refuse is raised, and rolls back whatever this request did before."""
        if isinstance(form, QueueRowForm):
            self._save_row(request, obj, form)
        else:
            self._save_form(request, obj, form)

    def _save_row(self, request: HttpRequest, queue: Queue, form: QueueRowForm) -> None:
        limit, version = form.cleaned_data["override_limit"]
        said = {**self._by(request, queue), "reason": "", "expected_version": version}
        if limit is None:
            limits.clear_override(**said)
        else:
            limits.change_limit(limit=limit, **said)

    def _save_form(self, request: HttpRequest, queue: Queue, form: QueueForm) -> None:
        data, by = form.cleaned_data, self._by(request, queue)
        version = data["expected_version"]
        if form.override_changed:
            said = {**by, "reason": data["override_reason"], "expected_version": version}
            if form.overrides:
                limit = None if data["unlimited"] else data["override_limit"]
                version = limits.change_limit(limit=limit, until=data["override_until"], **said).version
            else:
                version = limits.clear_override(**said).version
        if form.pause_changed:
            said = {**by, "reason": data["paused_reason"], "expected_version": version}
            if data["paused"]:
                limits.pause(until=data["paused_until"], **said)
            else:
                limits.resume(**said)

    def _by(self, request: HttpRequest, queue: Queue) -> dict[str, Any]:
        return {"queue": queue.name, "actor": _name(request), "through": Change.Through.ADMIN}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return _or_say_why(request, lambda: super(QueueAdmin, self).changelist_view(request, extra_context))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return _or_say_why(request, lambda: super(QueueAdmin, self).changeform_view(request, *args, **kwargs))


def _or_say_why(request: HttpRequest, view: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """What only shows under the lock: somebody was faster than this form."""
    try:
        return view()
    except limits.LimitsError as refused:
        messages.error(request, refused.detail)
        return HttpResponseRedirect(request.get_full_path())


# -- executions and workers ------------------------------------------------------------------------


class CappedPaginator(_Paginator):
    """Counts to 10,000 and no further: the table has millions of rows."""

    @cached_property
    def count(self) -> int:
        found: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return len(found.order_by().values_list("pk", flat=True)[:COUNT_CAP])


class _InQueue(admin.SimpleListFilter):
    title, parameter_name = "queue", "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        where = sight(request.user, Action.LIMIT)
        names = [name for name in Queue.objects.values_list("name", flat=True) if where.covers(name)][
            :MOST_FILTERED
        ]
        chosen = self.value_of(request)
        return [(name, name) for name in sorted({*names, *([chosen] if chosen else [])})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(queue__name=self.value()) if self.value() else queryset

    def value_of(self, request: HttpRequest) -> str:
        return request.GET.get(self.parameter_name, "")


class _WithStatus(admin.SimpleListFilter):
    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Status.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(Execution)
class ExecutionAdmin(_Guarded, _ExecutionAdmin):
    of_queues = "queue"
    list_display = ("id", "workflow", "queue", "status", "tries", "enqueued_at", "finished_at")
    list_select_related = ("queue",)
    list_filter = (_WithStatus, _InQueue)
    list_per_page = 50
    ordering = ("-id",)
    sortable_by = ()
    show_full_result_count = False
    paginator = CappedPaginator
    search_fields = ("id", "workflow")
    search_help_text = "A whole id, or the beginning of a workflow's name."
    actions = ("cancel", "retry")
    exclude = ("payload", "result", "error", "token")
    readonly_fields = ("payload_text", "result_text", "error_text")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        found = super().get_queryset(request)
        match = request.resolver_match
        return found if match and "object_id" in match.kwargs else found.defer("payload", "result", "error")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Execution], search_term: str
    ) -> tuple[QuerySet[Execution], bool]:
        term = search_term.strip().replace("\0", "")
        if not term:
            return queryset, False
        try:
            return queryset.filter(id=UUID(term)), False
        except ValueError:
            return queryset.filter(workflow__startswith=term), False

    @admin.action(description="Cancel the chosen executions…")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse | None:
        return self._dialog(request, queryset, "cancel")

    @admin.action(description="Retry the chosen executions…")
    def retry(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse | None:
        return self._dialog(request, queryset, "retry")

    def _dialog(self, request: HttpRequest, queryset: QuerySet[Execution], verb: str) -> HttpResponse | None:
        """The pages' own, which says how many, what will happen and what it costs."""
        ids = list(queryset.order_by("-id").values_list("id", flat=True)[: MOST_CHOSEN + 1])
        if len(ids) > MOST_CHOSEN:
            said = f"Choose at most {MOST_CHOSEN}, or act on all that match on the page of executions."
            self.message_user(request, said, messages.ERROR)
            return None
        chosen = urlencode([("verb", verb), *(("id", str(id)) for id in ids)])
        return HttpResponseRedirect(f"{reverse('bulk-new')}?{chosen}")

    @admin.display(description="payload")
    def payload_text(self, execution: Execution) -> SafeString:
        return _json(execution.payload)

    @admin.display(description="result")
    def result_text(self, execution: Execution) -> SafeString:
        return _json(execution.result)

    @admin.display(description="error")
    def error_text(self, execution: Execution) -> SafeString:
        return _json(execution.error)


@admin.register(Worker)
class WorkerAdmin(_Guarded, _WorkerAdmin):
    of_queues = "registrations__queue"
    list_display = ("name", "host", "pid", "state", "max_concurrent", "key_name", "registered_at", "lease_until")
    list_filter = ("state",)
    search_fields = ("name", "host")
    actions = None
    exclude = ("claim_token",)


def _json(value: Any) -> SafeString:
    if value is None:
        return format_html("{}", "–")
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="polos-json">{}</pre>', text)


# -- API keys --------------------------------------------------------------------------------------


@admin.register(ApiKey)
class ApiKeyAdmin(_Guarded, _ApiKeyAdmin):
    action = Action.PEOPLE
    adds = changes = True
    list_display = ("name", "scope", "queue_patterns", "created_by", "created_at", "last_used_at", "revoked_at")
    list_filter = ("scope",)
    search_fields = ("name", "id")
    actions = ("revoke",)
    add_form_template = "admin/queues/apikey/change_form.html"

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        # A key is made and revoked, not edited; actions of the list need the permission without a key.
        return obj is None and super().has_change_permission(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs, **({} if obj else {"form": NewKeyForm}))

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        shown = ("id", "name", "scope", "queue_patterns", "created_by", "created_at", "last_used_at", "revoked_at")
        return shown if obj else ("name", "scope", "queue_patterns")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        context = {**(extra_context or {}), "losing": keys.warn_on_first_key()}
        return super().add_view(request, form_url, context)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        data = form.cleaned_data
        losing = keys.warn_on_first_key()
        made, secret = keys.create_key(
            name=data["name"], scope=data["scope"], patterns=data["queue_patterns"], created_by=_name(request)
        )
        obj.pk = made.pk
        request.polos_made = (made, secret, losing)  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The secret is in this answer and nowhere else: no message, no session, no second look."""
        key, secret, losing = request.polos_made  # type: ignore[attr-defined]
        context = {"key": key, "secret": secret, "losing": losing, "title": "A new API key", "opts": self.opts}
        context |= self.admin_site.each_context(request)
        return render(request, "admin/queues/apikey/created.html", context)

    @admin.action(description="Revoke the chosen keys for good")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        chosen = list(queryset.filter(revoked_at=None))
        for key in chosen:
            keys.revoke_key(key, actor=_name(request))
            self.log_change(request, key, "Revoked.")
        names = ", ".join(key.name for key in chosen)
        said = f"Revoked: {names}. It counts everywhere within five seconds." if chosen else "Nothing to revoke."
        self.message_user(request, said)


# -- people ----------------------------------------------------------------------------------------


class _People(_Guarded):
    action = Action.PEOPLE
    adds = changes = deletes = True


class PersonAdmin(_People, _UserAdmin):
    """Only superusers make superusers or touch them. Django's own permissions count nowhere here."""

    filter_horizontal = ("groups",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Personal", {"fields": ("first_name", "last_name", "email")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("last_login", "date_joined", *(() if _is_superuser(request) else ("is_superuser",)))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Deleting by the dozen would not ask about each.
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        user: User = form.instance
        before = set(user.groups.all())
        super().save_related(request, form, formsets, change)
        after = set(user.groups.all())
        for group, gone in [(group, True) for group in before - after] + [
            (group, False) for group in after - before
        ]:
            kind = PersonChange.Kind.ROLE if grants.is_role(group) else PersonChange.Kind.TEAM
            said = ("member", "") if gone else ("", "member")
            grants.note(kind, user, *said, by=request.user, through=ADMIN, subject=group.name)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        for name in ("is_active", "is_staff", "is_superuser"):
            if change and name in form.changed_data:
                before, after = str(form.initial[name]).lower(), str(form.cleaned_data[name]).lower()
                said = PersonChange.Kind.ACCOUNT, obj, before, after
                grants.note(*said, by=request.user, through=ADMIN, subject=name.removeprefix("is_"))
        if not change:
            grants.note(PersonChange.Kind.ACCOUNT, obj, "", "made", by=request.user, through=ADMIN)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        grants.note(PersonChange.Kind.ACCOUNT, obj, "there", "deleted", by=request.user, through=ADMIN)
        super().delete_model(request, obj)


class TeamAdmin(_People, GroupAdmin):
    """Groups: the three roles, which stay as they are, and teams for grants."""

    fields = ("name",)
    list_display = ("name", "kind")

    @admin.display(description="kind")
    def kind(self, group: Group) -> str:
        return "role" if grants.is_role(group) else "team"

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and grants.is_role(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and grants.is_role(obj))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        before = form.initial.get("name", "") if change else ""
        super().save_model(request, obj, form, change)
        if before != obj.name:
            grants.note(PersonChange.Kind.TEAM, obj, before, obj.name, by=request.user, through=ADMIN)

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        grants.note(PersonChange.Kind.TEAM, obj, obj.name, "deleted", by=request.user, through=ADMIN)
        super().delete_model(request, obj)


@admin.register(Grant)
class GrantAdmin(_People, _GrantAdmin):
    list_display = ("pattern", "level", "user", "group", "granted_by", "granted_at")
    list_filter = ("level",)
    search_fields = ("pattern", "user__username", "group__name")
    form = GrantForm
    actions = None

    def get_readonly_fields(self, request: HttpRequest, obj: Grant | None = None) -> tuple[str, ...]:
        return ("user", "group", "pattern") if obj else ()

    def save_model(self, request: HttpRequest, obj: Grant, form: Any, change: bool) -> None:
        made = grants.give(to=obj.to, pattern=obj.pattern, level=obj.level, by=request.user, through=ADMIN)
        obj.pk = made.pk

    def delete_model(self, request: HttpRequest, obj: Grant) -> None:
        grants.take(obj, by=request.user, through=ADMIN)


@admin.register(PersonChange)
class PersonChangeAdmin(_Guarded, _PersonChangeAdmin):
    action = Action.PEOPLE
    list_display = ("at", "actor", "about", "kind", "subject", "before", "after", "through")
    list_filter = ("kind", "through")
    search_fields = ("about", "actor", "subject")
    actions = None


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_superuser)


def _may_touch(request: HttpRequest, obj: User | None) -> bool:
    return obj is None or _is_superuser(request) or not obj.is_superuser


admin.site.unregister(User)
admin.site.unregister(Group)
admin.site.register(User, PersonAdmin)
admin.site.register(Group, TeamAdmin)


def _name(request: HttpRequest) -> str:
    return str(request.user.get_username())


__all__ = ["ApiKeyAdmin", "ExecutionAdmin", "QueueAdmin", "WorkerAdmin"]
