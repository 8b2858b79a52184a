"""For admins: who may do what where. People are invited by a one-time link, so no password travels."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from queues import grants, signin
from queues.access import Action, Role, needs
from queues.forms import GrantForm, InviteForm, RoleForm, SeenForm
from queues.models import Change, Grant, PersonChange

from .confirming import Confirmation, confirm
from .replies import actor, done, is_htmx

PAGE = Change.Through.PAGE
Kind = PersonChange.Kind
SAID = {
    Role.VIEWER: "looks",
    Role.OPERATOR: "also pauses, drains, cancels, retries and manages schedules",
    Role.ADMIN: "also changes limits and manages people",
}
NO_ROLE = (RoleForm.NONE, "no role", "may do only what teams and grants allow")


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


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PEOPLE)
def role(request: HttpRequest, id: int) -> HttpResponse:
    user = _other_person(request, id)
    if request.method != "POST":
        return _role_page(request, user)
    form = RoleForm(request.POST)
    if not form.is_valid():
        return _role_page(request, user, "Choose one of the roles, or none.", 422)
    choice = form.cleaned_data["choice"]
    wanted = None if choice == RoleForm.NONE else Role(choice)
    try:
        grants.set_role(user, wanted, by=request.user, through=PAGE, expected=form.cleaned_data["seen"])
    except grants.NotGranted as no:
        return _role_page(request, user, str(no), 409)
    return done(request, f"{user.get_username()} {f'is now {wanted}' if wanted else 'has no role now'}.", "people")


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PEOPLE)
def activation(request: HttpRequest, id: int) -> HttpResponse:
    """`active` in the form: on. Absent: off, which also ends their sessions."""
    user, form = _other_person(request, id), SeenForm(request.POST)
    if request.method != "POST":
        return _activation_page(request, user)
    active = "active" in request.POST
    form.is_valid()
    try:
        grants.set_active(user, active, by=request.user, through=PAGE, expected=form.cleaned_data.get("seen"))
    except grants.NotGranted as no:
        user.refresh_from_db()
        return _activation_page(request, user, str(no), 409)
    return done(
        request, f"{user.get_username()} {'can sign in again' if active else 'can no longer sign in'}.", "people"
    )


@require_POST
@needs(Action.PEOPLE)
def link(request: HttpRequest, id: int) -> HttpResponse:
    """Another one-time link, for somebody who lost the first or forgot the password."""
    user = _other_person(request, id)
    if not user.is_active:
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


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.PEOPLE)
def grant_removal(request: HttpRequest, id: int) -> HttpResponse:
    grant, form = get_object_or_404(Grant.objects.select_related("user", "group"), id=id), SeenForm(request.POST)
    if request.method != "POST":
        return _removal_page(request, grant)
    form.is_valid()
    try:
        grants.take(grant, by=request.user, through=PAGE, expected=form.cleaned_data.get("seen"))
    except grants.NotGranted as no:
        grant.refresh_from_db()
        return _removal_page(request, grant, str(no), 409)
    return done(request, f"Taken back: {grant}. It counts at once; open pages know it within a minute.", "people")


def _grants(request: HttpRequest, to: User | Group) -> HttpResponse:
    """GET shows what is granted; POST grants a pattern, or another level of one."""
    form = GrantForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        try:
            grants.give(
                to=to, pattern=said["pattern"], level=said["level"], by=request.user, through=PAGE,
                expected=said["seen"],
            )  # fmt: skip
        except grants.ChangedSince as changed:
            form.add_error(None, str(changed))
        except grants.NotGranted as no:
            form.add_error("pattern", str(no))
        else:
            return done(request, f"Granted: {said['level']} {said['pattern']}.", "people")
    context = {
        "to": to,
        "form": form,
        "levels": Grant.Level.choices,
        "granted": to.grant_set.all(),
        "seen": grants.version(to),
    }
    template = "accounts/grants.html#dialog" if is_htmx(request) else "accounts/grants.html"
    return render(
        request, template, context, status=409 if form.non_field_errors() else 422 if form.errors else 200
    )


def _other_person(request: HttpRequest, id: int) -> User:
    user = get_object_or_404(User, id=id)
    if user.is_superuser or user.pk == request.user.pk:
        raise PermissionDenied("Your own account and a superuser's are not changed here.")
    return user


# -- what would happen -----------------------------------------------------------------------------


def _role_page(request: HttpRequest, user: User, problem: str = "", status: int = 200) -> HttpResponse:
    role = grants.role_in(User.objects.get(pk=user.pk))
    back = f"choose {role} again" if role else "choose no role again"
    asked = Confirmation(
        title="Role of", subject=user.get_username(), legend="What they may do on every queue",
        choices=[*((each.value, each.value, SAID[each]) for each in Role), NO_ROLE],
        chosen=request.POST.get("choice") or role or RoleForm.NONE,
        consequence=(
            "It counts from their next request on; open pages know it within a minute. A bulk act that they may "
            f"not do any more stops. Teams and grants stay. It can be undone: {back}."
        ),
        button="Change role", back=reverse("people"), hidden={"seen": grants.version(user)},
    )  # fmt: skip
    return confirm(request, asked, problem=problem, status=status)


def _activation_page(request: HttpRequest, user: User, problem: str = "", status: int = 200) -> HttpResponse:
    name, on = user.get_username(), user.is_active
    if on:
        consequence = (
            f"{name} is signed out everywhere with the next request, open pages close within a minute, and {name} "
            "cannot sign in. Bulk acts that they asked for stop; API keys that they made go on counting. Role, "
            "teams and grants are kept. It can be undone: reactivate."
        )
    else:
        consequence = (
            f"{name} can sign in again, with role, teams and grants as before. It can be undone: deactivate."
        )
    asked = Confirmation(
        title="Deactivate" if on else "Reactivate", subject=name, consequence=consequence,
        button="Deactivate" if on else "Reactivate", danger=on, back=reverse("people"),
        hidden={"seen": grants.version(user), **({} if on else {"active": 1})},
    )  # fmt: skip
    return confirm(request, asked, problem=problem, status=status)


def _removal_page(request: HttpRequest, grant: Grant, problem: str = "", status: int = 200) -> HttpResponse:
    asked = Confirmation(
        title="Take back", subject=f"{grant.level} {grant.pattern}",
        consequence=(
            f"{grant.to} may no longer {grant.level} the queues that {grant.pattern} names, unless by role, team "
            "or another grant. It counts from the next request on; open pages know it within a minute, and a bulk "
            "act that is not allowed any more stops. It can be undone: grant it again."
        ),
        button="Take back", danger=True, back=reverse("people"), hidden={"seen": grants.version(grant.to)},
    )  # fmt: skip
    return confirm(request, asked, problem=problem, status=status)


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
