"""What somebody with grants on billing/* meets: those queues, and no trace of any other one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from queues import access, favourites, gauges, grants, limits
from queues.access import Action, Sight
from queues.models import Change, Grant, PersonChange, Queue, Status

from .conftest import SignIn, finished, make_execution, make_queue, make_worker, running

HTMX = {"HX-Request": "true"}


@pytest.fixture
def otto(people: dict[str, User], sign_in: SignIn) -> Client:
    people["otto"] = User.objects.create_user("otto")
    Grant.objects.create(user=people["otto"], pattern="billing/*", level="operate", granted_by="ana")
    return sign_in("otto")


@pytest.fixture
def both() -> tuple[Queue, Queue]:
    """billing/eu, which otto operates, and mail, which he may not know of. One worker serves both."""
    mine, other = make_queue("billing/eu"), make_queue("mail")
    worker = make_worker(queue=mine, max_concurrent=4)
    worker.registrations.create(queue=other, workflow="send")
    running(mine, worker, 1)
    make_execution(mine)
    for slot in (1, 2):
        running(other, worker, slot, workflow="send")
    for _ in range(3):
        make_execution(other, workflow="send", waited=500)
        finished(other, worker, Status.FAILED, workflow="send")
    for queue in (mine, other):
        limits.change_limit(queue=queue.name, limit=3, reason="calm", actor="ana", through=Change.Through.PAGE)
    return mine, other


def text(client: Client, address: str, **headers: str) -> str:
    response = client.get(address, headers=headers)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


@pytest.mark.parametrize(
    "address",
    ["/", "/?show=attention", "/?groups=1", "/executions", "/executions?queue=mail", "/workers", "/trail",
     "/trail?queue=mail", "/go?q=mail", "/go?q=send", "/go", "/pauses?all=1", "/resumptions?all=1"],
)  # fmt: skip
def test_no_page_names_what_is_not_granted(otto: Client, both: tuple[Queue, Queue], address: str) -> None:
    html = text(otto, address)
    assert ">mail<" not in html
    assert ">send<" not in html and "send," not in html
    assert "/queues/mail" not in html


@pytest.mark.parametrize("typed", ["queue:", "workflow:", "q", "s", "m", "payload."])
def test_nothing_is_suggested_of_what_is_not_granted(otto: Client, both: Any, typed: str) -> None:
    html = text(otto, f"/executions/suggestions?q={typed}")
    assert "mail" not in html.replace("send_mail", "")
    assert "workflow:send" not in html.replace("send_mail", "")


@pytest.mark.parametrize("address", ["/", "/executions", "/workers", "/trail", "/pauses?all=1"])
def test_the_pages_show_what_is_granted(otto: Client, both: tuple[Queue, Queue], address: str) -> None:
    assert "billing/eu" in text(otto, address)


def test_tiles_and_counts_are_of_what_is_granted(otto: Client, both: tuple[Queue, Queue]) -> None:
    html = " ".join(text(otto, "/").split())
    assert '<b class="figure ">1</b><small>in 1 queue</small>' in html  # running, and waiting
    assert "of none finished" in html
    assert "1 of 4 slots free" in html  # of the worker, whoever holds the others
    assert '<span id="count-all" data-cell>1</span>' in html


def test_the_workers_page_counts_only_what_one_may_see(otto: Client, both: tuple[Queue, Queue]) -> None:
    html = text(otto, "/workers")
    assert "1 queue<" in html
    assert "<b>1</b>/4" in html


def test_an_execution_elsewhere_is_not_there_and_not_among_the_family(otto: Client) -> None:
    mine, other = make_queue("billing/eu"), make_queue("mail")
    parent = make_execution(other)
    child = make_execution(mine, parent_id=parent.id)
    assert otto.get(f"/executions/{parent.id}").status_code == 404
    assert otto.post(f"/executions/{parent.id}/cancellation").status_code == 404
    assert str(parent.id) not in text(otto, f"/executions/{child.id}")
    assert otto.post(f"/executions/{child.id}/cancellation").status_code == 302


def test_what_one_operates_one_pauses_and_nothing_beside_it(otto: Client, both: tuple[Queue, Queue]) -> None:
    mine, other = Queue.objects.get(name="billing/eu"), Queue.objects.get(name="mail")
    seen = f"{mine.id}:{mine.version},{other.id}:{other.version}"  # a form that was made up
    reply = otto.post("/pauses?all=1", {"seen": seen, "reason": "x"}, headers=HTMX)
    assert reply.status_code == 409
    assert list(Queue.objects.filter(paused=True)) == [mine]
    assert otto.get("/limits/billing/eu").status_code == 403
    assert "Change limit" not in text(otto, "/queues/billing/eu")


def test_a_viewer_with_a_grant_has_buttons_on_those_rows_only(people: dict[str, User], vera: Client) -> None:
    make_queue("billing/eu")
    make_queue("mail")
    Grant.objects.create(user=people["vera"], pattern="billing/*", level="tune", granted_by="ana")
    html = text(vera, "/")
    assert 'href="/limits/billing/eu"' in html and 'href="/pauses/billing/eu"' in html
    assert 'href="/limits/mail"' not in html and 'href="/pauses/mail"' not in html
    assert "/queues/mail" in html
    assert vera.get("/limits/billing/eu").status_code == 200
    assert vera.get("/limits/mail").status_code == 403


def test_an_empty_list_says_what_one_may_see(otto: Client) -> None:
    make_queue("mail")
    html = text(otto, "/")
    assert "Your grants name" in html and "billing/*" in html
    assert "No queue yet" not in html


def test_favourites_are_counted_as_far_as_they_are_seen(
    otto: Client, people: dict[str, User], both: tuple[Queue, Queue]
) -> None:
    favourites.keep(people["otto"].pk, both[1].id, True)
    assert '<span id="count-favourites" data-cell>0</span>' in text(otto, "/?show=favourites")
    assert otto.post("/favourites/mail", {"keep": "1"}).status_code == 404


def test_the_metrics_are_for_those_who_see_everything(otto: Client, vera: Client) -> None:
    assert not access.sight(User.objects.get(username="otto")).everywhere
    assert access.sight(User.objects.get(username="vera")).everywhere


# -- giving and taking -----------------------------------------------------------------------------


def test_an_admin_grants_and_takes_back_and_both_are_in_the_trail(ana: Client, people: dict[str, User]) -> None:
    address = f"/people/{people['nils'].pk}/grants"
    reply = ana.post(address, {"pattern": "billing/*", "level": "operate"}, headers=HTMX)
    assert reply.status_code == 204
    assert "Granted: operate billing/*." in json.loads(reply.headers["HX-Trigger"])["polos:done"]["text"]
    ana.post(address, {"pattern": "billing/*", "level": "see"})
    grant = Grant.objects.get()
    assert (grant.user, grant.level, grant.granted_by) == (people["nils"], "see", "ana")
    assert "billing/*" in text(ana, "/people") and "Take back" in text(ana, address)
    ana.post(f"/grants/{grant.id}/removal")
    assert not Grant.objects.exists()
    told = PersonChange.objects.order_by("id").values_list("about", "kind", "subject", "before", "after", "actor")
    assert list(told) == [
        ("nils", "grant", "billing/*", "", "operate", "ana"),
        ("nils", "grant", "billing/*", "operate", "see", "ana"),
        ("nils", "grant", "billing/*", "see", "", "ana"),
    ]


@pytest.mark.parametrize("act", ["role", "activation", "grants", "removal"])
def test_what_changed_since_it_was_looked_at_is_refused_and_shown(
    ana: Client, people: dict[str, User], act: str
) -> None:
    vera, root = people["vera"], User.objects.create_superuser("root")
    grant = Grant.objects.create(user=vera, pattern="mail", level="see", granted_by="ana")
    address = f"/grants/{grant.id}/removal" if act == "removal" else f"/people/{vera.pk}/{act}"
    html = text(ana, address)
    assert "can be undone" in html
    grants.set_role(vera, access.Role.OPERATOR, by=root, through=Change.Through.ADMIN)
    seen = re.search(r'name="seen" value="(\d+)"', html)
    assert seen
    form = {"seen": seen[1], "choice": "admin", "pattern": "a/*", "level": "see"}
    stale = ana.post(address, form, headers=HTMX)
    assert stale.status_code == 409
    assert "root changed the role from viewer to operator since you opened this" in stale.content.decode()
    assert PersonChange.objects.count() == 1
    newer = re.search(r'name="seen" value="(\d+)"', stale.content.decode())
    assert newer
    assert ana.post(address, form | {"seen": newer[1]}, headers=HTMX).status_code == 204
    assert PersonChange.objects.count() == 2


@pytest.mark.parametrize("pattern", ["", "a b", "<script>", "x" * 201])
def test_a_pattern_that_is_none_is_refused_beside_the_field(ana: Client, people: Any, pattern: str) -> None:
    reply = ana.post(f"/people/{people['nils'].pk}/grants", {"pattern": pattern, "level": "see"})
    assert reply.status_code == 422
    assert 'id="e-pattern"' in reply.content.decode()
    assert not Grant.objects.exists()


def test_a_team_has_grants_for_all_its_people(ana: Client, people: dict[str, User], sign_in: SignIn) -> None:
    make_queue("billing/eu")
    team = Group.objects.create(name="payments")
    people["nils"].groups.add(team)
    nils = sign_in("nils")
    assert nils.get("/queues/billing/eu").status_code == 403
    ana.post(f"/teams/{team.pk}/grants", {"pattern": "billing/*", "level": "see"})
    assert nils.get("/queues/billing/eu").status_code == 200
    assert access.sights([people["nils"].pk])[people["nils"].pk] == Sight(("billing/*",))
    assert "payments" in text(ana, "/people")
    viewers = Group.objects.get(name="viewer")
    assert ana.get(f"/teams/{viewers.pk}/grants").status_code == 404


def test_nobody_grants_more_than_they_have(people: dict[str, User]) -> None:
    for name in ("jonas", "vera", "nils"):
        by = User.objects.get(username=name)
        with pytest.raises(grants.NotGranted):
            grants.give(to=people["nils"], pattern="*", level="see", by=by, through=Change.Through.PAGE)
        with pytest.raises(grants.NotGranted):
            grants.set_role(people["nils"], access.Role.VIEWER, by=by, through=Change.Through.PAGE)
    assert not Grant.objects.exists()


def test_roles_invitations_and_accounts_are_in_the_trail_of_people(ana: Client, people: dict[str, User]) -> None:
    ana.post("/people", {"username": "mia", "role": ""})
    ana.post(f"/people/{people['vera'].pk}/role", {"choice": "operator"})
    assert ana.post(f"/people/{people['vera'].pk}/role", {"choice": ""}).status_code == 422
    ana.post(f"/people/{people['vera'].pk}/role", {"choice": "none"})
    assert not people["vera"].groups.exists()
    ana.post(f"/people/{people['vera'].pk}/activation")
    assert not User.objects.get(username="mia").groups.exists()
    told = list(PersonChange.objects.order_by("id").values_list("about", "kind", "before", "after"))
    assert told == [
        ("mia", "invitation", "", "no role"),
        ("vera", "role", "viewer", "operator"),
        ("vera", "role", "operator", ""),
        ("vera", "account", "active", "deactivated"),
    ]


# -- the check itself ------------------------------------------------------------------------------


def test_levels_include_those_below_and_names_match_as_a_whole(people: dict[str, User]) -> None:
    nils = people["nils"]
    Grant.objects.create(user=nils, pattern="billing/*", level="tune", granted_by="ana")
    Grant.objects.create(user=nils, pattern="mail", level="see", granted_by="ana")
    user = User.objects.get(pk=nils.pk)
    assert all(access.may(user, action, "billing/eu") for action in (Action.SEE, Action.PAUSE, Action.LIMIT))
    assert access.may(user, Action.SEE, "mail") and not access.may(user, Action.PAUSE, "mail")
    assert not access.may(user, Action.SEE, "mail-later") and not access.may(user, Action.SEE, "xbilling/eu")
    assert not access.may(user, Action.PEOPLE)


def test_a_deactivated_persons_grants_count_for_nothing(people: dict[str, User]) -> None:
    Grant.objects.create(user=people["nils"], pattern="*", level="tune", granted_by="ana")
    User.objects.filter(username="nils").update(is_active=False)
    assert not access.may(User.objects.get(username="nils"), Action.SEE, "mail")


@pytest.mark.usefixtures("both")
def test_the_hour_by_queue_is_the_hour() -> None:
    memory = gauges.Memory()
    gauges.survey(memory)  # what was read before is read again by queue
    memory.want_details()
    for _ in range(2):  # a later look replaces what an earlier one counted
        whole = gauges.survey(memory)
        seen = whole.seen_by(Sight(("mail",)))
        assert (seen.totals.finished, seen.totals.failed) == (whole.totals.finished, whole.totals.failed) == (3, 3)
        assert whole.seen_by(Sight(("billing/*",))).totals.failed == 0
