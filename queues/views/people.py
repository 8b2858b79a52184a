"""For admins: who may do what. People are invited by a one-time link, so no password travels."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from queues import signin
from queues.access import Action, Role, needs, role_of
from queues.forms import InviteForm, RoleForm

from .replies import actor


@dataclass(frozen=True, slots=True)
class PersonRow:
    user: User
    role: Role | None
    fixed: bool  # a superuser, or oneself: not changed here


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
        set_role(user, Role(form.cleaned_data["role"]))
        token = signin.make_link(user, actor(request))
    return _page(request, InviteForm(), link=_absolute(request, token), invited=user)


@require_POST
@needs(Action.PEOPLE)
def role(request: HttpRequest, id: int) -> HttpResponse:
    user, form = _other_person(request, id), RoleForm(request.POST)
    if user is None or not form.is_valid():
        messages.error(request, "This role was not changed: choose one of the three, and not your own.")
        return redirect("people")
    set_role(user, Role(form.cleaned_data["role"]))
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
    User.objects.filter(id=user.id).update(is_active=active)
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
    return _page(
        request, InviteForm(), link=_absolute(request, signin.make_link(user, actor(request))), invited=user
    )


def set_role(user: User, role: Role) -> None:
    """Exactly one of the three groups. Admins may also open the Django admin."""
    with transaction.atomic():
        user.groups.remove(*Group.objects.filter(name__in=list(Role)))
        user.groups.add(Group.objects.get(name=role))
        User.objects.filter(id=user.id).update(is_staff=role is Role.ADMIN)


def _other_person(request: HttpRequest, id: int) -> User | None:
    user = get_object_or_404(User, id=id)
    return None if user.is_superuser or user.pk == request.user.pk else user


def _page(
    request: HttpRequest, form: InviteForm, *, link: str = "", invited: User | None = None, status: int = 200
) -> HttpResponse:
    people = User.objects.order_by("-is_active", "username").prefetch_related("groups")
    rows = [PersonRow(user, _role(user), user.is_superuser or user.pk == request.user.pk) for user in people]
    context = {"rows": rows, "form": form, "roles": list(Role), "link": link, "invited": invited}
    return render(request, "accounts/people.html", context, status=status)


def _role(user: User) -> Role | None:
    if user.is_active:
        return role_of(user)
    names = {group.name for group in user.groups.all()}
    return next((role for role in reversed(Role) if role in names), None)


def _absolute(request: HttpRequest, token: str) -> str:
    return request.build_absolute_uri(reverse("signin-link", args=[token]))
