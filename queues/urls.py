"""The pages. Actions are nouns of their own in front of the name, so that a queue may be named `a/pause`."""

from __future__ import annotations

from django.urls import path

from .views import (
    accounts,
    bulk,
    bulk_acts,
    execution_acts,
    executions,
    help,
    history,
    limits,
    list,
    palette,
    people,
    purges,
    queues,
    search,
    told,
    trail,
    workers,
)

queue_urls = [
    path("", list.list_queues, name="queues"),
    path("queues/<path:name>", queues.show_queue, name="queue"),
    path("charts/<path:name>", history.show_charts, name="charts"),
    path("history/<path:name>", history.show_table, name="history"),
    path("progress/<path:name>", queues.show_progress, name="progress"),
    path("lanes/<path:name>", history.show_lanes, name="lanes"),
    path("trail", trail.list_changes, name="trail"),
    path("limits/<path:name>", limits.limit, name="limit"),
    path("pauses/<path:name>", limits.pause, name="pause"),
    path("drains/<path:name>", limits.drain, name="drain"),
    path("purges/<path:name>", purges.purge, name="purge"),
    path("pauses", bulk.pauses, name="pauses"),
    path("resumptions", bulk.resumptions, name="resumptions"),
    path("favourites/<path:name>", list.favourite, name="favourite"),
]

execution_urls = [
    path("executions", search.list_executions, name="executions"),
    path("executions.csv", search.export, {"form": "csv"}, name="export-csv"),
    path("executions.jsonl", search.export, {"form": "jsonl"}, name="export-jsonl"),
    path("executions/suggestions", search.suggestions, name="suggestions"),
    path("executions/<uuid:id>", executions.show_execution, name="execution"),
    path("executions/<uuid:id>/lines", told.list_lines, name="execution-lines"),
    path("executions/<uuid:id>/log", told.download_lines, name="execution-log"),
    path("executions/<uuid:id>/cancellation", executions.cancellation, name="cancellation"),
    path("executions/<uuid:id>/answer", executions.answer, name="answer"),
    path("executions/<uuid:id>/retry", executions.retry, name="retry"),
    path("executions/<uuid:id>/release", executions.release, name="release"),
    path("executions/<uuid:id>/rerun", execution_acts.rerun, name="rerun"),
    path("executions/<uuid:id>/priority", execution_acts.priority, name="priority"),
    path("bulk", bulk_acts.list_acts, name="bulk-acts"),
    path("bulk/new", bulk_acts.new, name="bulk-new"),
    path("bulk/<uuid:id>", bulk_acts.show, name="bulk"),
    path("bulk/<uuid:id>/stop", bulk_acts.stop, name="bulk-stop"),
]

worker_urls = [
    path("workers", workers.list_workers, name="workers"),
    path("workers/<uuid:id>", workers.show_worker, name="worker"),
    path("workers/<uuid:id>/drain", workers.drain, name="worker-drain"),
]

account_urls = [
    path("signin", accounts.sign_in, name="signin"),
    path("signin/<str:token>", accounts.sign_in_link, name="signin-link"),
    path("signout", accounts.sign_out, name="signout"),
    path("account", accounts.account, name="account"),
    path("account/password", accounts.password, name="password"),
    path("theme", accounts.theme, name="theme"),
    path("times", accounts.times, name="times"),
]

people_urls = [
    path("people", people.list_people, name="people"),
    path("people/<int:id>/role", people.role, name="person-role"),
    path("people/<int:id>/activation", people.activation, name="person-activation"),
    path("people/<int:id>/link", people.link, name="person-link"),
    path("people/<int:id>/grants", people.person_grants, name="person-grants"),
    path("teams/<int:id>/grants", people.team_grants, name="team-grants"),
    path("grants/<int:id>/removal", people.grant_removal, name="grant-removal"),
]

help_urls = [
    path("help", help.help, name="help"),
    path("go", palette.go, name="go"),
    path("shortcuts", palette.shortcuts, name="shortcuts"),
]

urlpatterns = [*queue_urls, *execution_urls, *worker_urls, *account_urls, *people_urls, *help_urls]
