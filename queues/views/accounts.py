"""Signing in and out, one-time links, one's own password and theme."""

from __future__ import annotations

from functools import cache
from typing import cast
from zoneinfo import available_timezones

from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, SetPasswordForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from queues import signin

LINK_SESSION = "signed_in_by_link"  # then a new password needs no old one
THEMES = ("system", "light", "dark")
TIMES = ("relative", "absolute")
CONTINENTS = (
    "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific",
)  # fmt: skip
YEAR = 365 * 24 * 3600
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"

UNSENT = "You were signed out when you sent this: it was not carried out. Nothing was changed; do it again."


class _SignIn(LoginView):
    """`unsent`: somebody was signed out while a form was open, and is told what became of it."""

    template_name = "accounts/signin.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        if "unsent" in self.request.POST:
            messages.warning(self.request, UNSENT)
        return super().form_valid(form)


sign_in = login_not_required(_SignIn.as_view())


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """GET shows a button, POST uses the link up: a preview by a mail program must not consume it."""
    if request.method != "POST":
        link = signin.find(token)
        return render(request, "accounts/link.html", {"link": link}, status=200 if link else 410)
    user = signin.consume(token)
    if user is None:
        return render(request, "accounts/link.html", {"link": None}, status=410)
    login(request, user, backend=MODEL_BACKEND)
    request.session[LINK_SESSION] = True
    return redirect("password")


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    messages.success(request, "You are signed out.")
    return redirect("signin")


@require_http_methods(["GET", "HEAD"])
def account(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/account.html", {"form": _password_form(request), "zones": zones()})


@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """The old password is asked for, unless the person just came by a one-time link."""
    by_link = bool(request.session.get(LINK_SESSION))
    form = _password_form(request)
    if request.method == "POST" and form.is_valid():
        update_session_auth_hash(request, form.save())
        request.session.pop(LINK_SESSION, None)
        messages.success(request, "Your password is changed. It is asked for when you sign in next time.")
        return redirect("queues" if by_link else "account")
    status = 422 if form.errors else 200
    return render(request, "accounts/password.html", {"form": form, "by_link": by_link}, status=status)


@login_not_required
@require_POST
def theme(request: HttpRequest) -> HttpResponseBase:
    wanted = request.POST.get("theme", "system")
    response = redirect(_back(request))
    response.set_cookie(
        "theme", wanted if wanted in THEMES else "system", max_age=YEAR, samesite="Lax", httponly=True
    )
    return response


@login_not_required
@require_POST
def times(request: HttpRequest) -> HttpResponseBase:
    """How times are written: `times` is relative or absolute, `zone` is browser or a name like Europe/Berlin."""
    response = redirect(_back(request))
    written, zone = request.POST.get("times", ""), request.POST.get("zone", "").strip()
    if written in TIMES:
        response.set_cookie("times", written, max_age=YEAR, samesite="Lax", httponly=True)
    if zone in ("browser", *zones()):
        response.set_cookie("zone", zone, max_age=YEAR, samesite="Lax", httponly=True)
    elif zone:
        messages.error(request, f"There is no time zone named “{zone[:60]}”. Nothing was changed.")
    return response


@cache
def zones() -> tuple[str, ...]:
    """Names that people know: of places, and UTC."""
    return ("UTC", *sorted(name for name in available_timezones() if name.split("/")[0] in CONTINENTS))


def _password_form(request: HttpRequest) -> SetPasswordForm[User]:
    by_link = request.session.get(LINK_SESSION)
    form_class = SetPasswordForm if by_link else PasswordChangeForm
    return form_class(_user(request), request.POST or None)


def _back(request: HttpRequest) -> str:
    to = request.POST.get("next", "/")
    return to if url_has_allowed_host_and_scheme(to, allowed_hosts={request.get_host()}) else "/"


def _user(request: HttpRequest) -> User:
    return cast(User, request.user)  # the middleware lets nobody else in
