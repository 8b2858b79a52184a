"""For admins: who may do what where. People are invited by a one-time link, so no password travels."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from queues import grants, signin
from queues.access import Action, Role, needs
from queues.forms import GrantForm, InviteForm, RoleForm
from queues.models import Change, Grant, PersonChange

from .replies import actor, done, is_htmx, refused

PAGE = Change.Through.PAGE
Kind = PersonChange.Kind


@dataclass(frozen=True, slots=True)
class PersonRow:
    user: User
    role: Role | None
    fixed: bool  # a superuser, or oneself: not changed here
    teams: list[str]


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PEOPLE)
def list_people(request: HttpRequest) -> HttpResponse:
    """GET lists; POST invites somebody and shows the link, once."""
    if request.method != "POST":
        return _page(request, InviteForm())
    form = InviteForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    with transaction.atomic():
        user = User.objects.create_user(form.cleaned_data["username"])
        grants.note(
            Kind.INVITATION, user, "", form.cleaned_data["role"] or "no role", by=request.user, through=PAGE
        )
        if form.cleaned_data["role"]:
            grants.set_role(user, Role(form.cleaned_data["role"]), by=request.user, through=PAGE)
        token = signin.make_link(user, actor(request))
    return _page(request, InviteForm(), link=_absolute(request, token), invited=user)


@require_POST
@needs(Action.PEOPLE)
def role(request: HttpRequest, id: int) -> HttpResponse:
    user, form = _other_person(request, id), RoleForm(request.POST)
    if user is None or not form.is_valid():
        messages.error(request, "This role was not changed: choose one of the three, and not your own.")
        return redirect("people")
    grants.set_role(user, Role(form.cleaned_data["role"]), by=request.user, through=PAGE)
    messages.success(request, f"{user.get_username()} is now {form.cleaned_data['role']}.")
    return redirect("people")


@require_POST
@needs(Action.PEOPLE)
def activation(request: HttpRequest, id: int) -> HttpResponse:
    """`active` in the form: on. Absent: off, which also ends their sessions."""
    user = _other_person(request, id)
    if user is None:
        messages.error(request, "You cannot deactivate your own account or a superuser's here.")
        return redirect("people")
    active = "active" in request.POST
    with transaction.atomic():
        if User.objects.filter(id=user.id, is_active=not active).update(is_active=active):
            before, after = ("deactivated", "active") if active else ("active", "deactivated")
            grants.note(Kind.ACCOUNT, user, before, after, by=request.user, through=PAGE)
    messages.success(
        request, f"{user.get_username()} {'can sign in again' if active else 'can no longer sign in'}."
    )
    return redirect("people")


@require_POST
@needs(Action.PEOPLE)
def link(request: HttpRequest, id: int) -> HttpResponse:
    """Another one-time link, for somebody who lost the first or forgot the password."""
    user = _other_person(request, id)
    if user is None or not user.is_active:
        messages.error(request, "No link was made: reactivate the person first.")
        return redirect("people")
    with transaction.atomic():
        token = signin.make_link(user, actor(request))
        grants.note(Kind.LINK, user, "", "made", by=request.user, through=PAGE)
    return _page(request, InviteForm(), link=_absolute(request, token), invited=user)


# -- grants ----------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PEOPLE)
def person_grants(request: HttpRequest, id: int) -> HttpResponse:
    return _grants(request, get_object_or_404(User, id=id))


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PEOPLE)
def team_grants(request: HttpRequest, id: int) -> HttpResponse:
    return _grants(request, get_object_or_404(Group.objects.exclude(name__in=list(Role)), id=id))


@require_POST
@needs(Action.PEOPLE)
def grant_removal(request: HttpRequest, id: int) -> HttpResponse:
    grant = get_object_or_404(Grant.objects.select_related("user", "group"), id=id)
    try:
        grants.take(grant, by=request.user, through=PAGE)
    except grants.NotGranted as no:
        return refused(request, str(no), "people")
    return done(request, f"Taken back: {grant}. It counts at once; open pages know it within a minute.", "people")


def _grants(request: HttpRequest, to: User | Group) -> HttpResponse:
    """GET shows what is granted; POST grants a pattern, or another level of one."""
    form = GrantForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        try:
            grants.give(to=to, pattern=said["pattern"], level=said["level"], by=request.user, through=PAGE)
        except grants.NotGranted as no:
            form.add_error("pattern", str(no))
        else:
            return done(request, f"Granted: {said['level']} {said['pattern']}.", "people")
    context = {"to": to, "form": form, "levels": Grant.Level.choices, "granted": to.grant_set.all()}
    template = "accounts/grants.html#dialog" if is_htmx(request) else "accounts/grants.html"
    return render(request, template, context, status=422 if form.errors else 200)


def _other_person(request: HttpRequest, id: int) -> User | None:
    user = get_object_or_404(User, id=id)
    return None if user.is_superuser or user.pk == request.user.pk else user


def _page(
    request: HttpRequest, form: InviteForm, *, link: str = "", invited: User | None = None, status: int = 200
) -> HttpResponse:
    people = User.objects.order_by("-is_active", "username").prefetch_related("groups", "grant_set")
    rows = [_row(user, request.user.pk) for user in people]
    teams = Group.objects.exclude(name__in=list(Role)).order_by("name").prefetch_related("grant_set", "user_set")
    context = {
        "rows": rows,
        "teams": teams,
        "form": form,
        "roles": list(Role),
        "link": link,
        "invited": invited,
        "changes": grants.changes(),
    }
    return render(request, "accounts/people.html", context, status=status)


def _row(user: User, me: int | None) -> PersonRow:
    role = Role.ADMIN if user.is_superuser else grants.role_in(user)
    teams = [group.name for group in user.groups.all() if not grants.is_role(group)]
    return PersonRow(user, role, user.is_superuser or user.pk == me, teams)


def _absolute(request: HttpRequest, token: str) -> str:
    return request.build_absolute_uri(reverse("signin-link", args=[token]))
