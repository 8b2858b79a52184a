"""`polos schedules`: what starts by itself; makes, changes, pauses, resumes, runs and deletes it."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from typing import Any

from .._client import PolosClient
from .._errors import DefinitionError
from .._listing import pages
from .._schedules import Schedule
from .pages import SHORT_PATIENCE
from .payloads import payload, time
from .tables import Shorten, duration, screen_width, short_id, table

HEAD = ("SCHEDULE", "WORKFLOW", "QUEUE", "WHEN", "NEXT", "LAST", "STATE")
SHORT: dict[int, Shorten] = {0: "middle", 1: "middle", 2: "middle", 3: "end", 6: "end"}


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "schedules",
        help="show schedules; make, change, pause, resume, run and delete them",
        description="Shows what starts by itself, by name. With an action and the NAME of a schedule, does that.",
    )
    parser.add_argument("--workflow", metavar="ID", help="only those of this workflow")
    parser.add_argument("--json", action="store_true", help="as the REST API gives them")
    parser.set_defaults(act=_list)
    actions = parser.add_subparsers(metavar="ACTION")
    create = _add(actions, "create", _create, "make one")
    create.add_argument("workflow", metavar="WORKFLOW", help="what it starts")
    _add_options(create, when_is_needed=True)
    change = _add(actions, "change", _change, "what is given is changed, the rest stays as it is")
    _add_options(change, when_is_needed=False)
    change.add_argument("--reason", default="", help="kept with the change")
    pause = _add(actions, "pause", _pause, "it does not tick until somebody resumes it")
    pause.add_argument("--reason", default="", help="shown to all who look at it")
    _add(actions, "resume", _resume, "it ticks again, from now on")
    _add(actions, "run", _run, "start one execution now, whatever pause and policies say; prints its id")
    _add(actions, "delete", _delete, "what it started goes on; one that code declares is deleted there")
    return parser


def _add_options(parser: argparse.ArgumentParser, *, when_is_needed: bool) -> None:
    when = parser.add_mutually_exclusive_group(required=when_is_needed)
    when.add_argument("--cron", metavar="TEXT", help="five fields, '30 3 * * MON-FRI', or @daily and the like")
    when.add_argument("--every", type=float, metavar="SECONDS")
    when.add_argument(
        "--at", type=time, metavar="TIME", help="once, e.g. 2030-01-31T12:00; yours without an offset"
    )
    parser.add_argument("--timezone", metavar="NAME", help="in which the cron is meant, e.g. Europe/Berlin (UTC)")
    parser.add_argument("--queue", metavar="NAME", help="another queue than the workflow's")
    parser.add_argument(
        "--payload", type=payload, default=argparse.SUPPRESS, metavar="JSON",
        help="JSON, @FILE that holds JSON, or - to read it from stdin (default: the tick)",
    )  # fmt: skip
    parser.add_argument(
        "--catch-up", choices=("skip", "latest", "all"), help="ticks that were missed while no server ran (latest)"
    )
    parser.add_argument(
        "--overlap", choices=("allow", "skip", "cancel"), help="while the one before is not finished (allow)"
    )


def _add(actions: Any, name: str, act: Any, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help, description=f"{name.title()}: {help}.")
    parser.add_argument("name", metavar="NAME", help="of the schedule")
    parser.add_argument("--api-url", default=argparse.SUPPRESS, help="address of the server")
    parser.set_defaults(act=act)
    return parser


async def main(options: argparse.Namespace) -> int:
    async with PolosClient(options.api_url, patience=SHORT_PATIENCE) as client:
        print(await options.act(client, options))
    return 0


async def _list(client: PolosClient, options: argparse.Namespace) -> str:
    if options.json:
        query = {"workflow": options.workflow} if options.workflow else {}
        found = [each async for page in pages(client, "schedules", query) for each in page]
        return json.dumps(found, ensure_ascii=False, indent=2)
    schedules = await client.list_schedules(workflow=options.workflow)
    if not schedules:
        return "There are no such schedules."
    return table(HEAD, map(_row, schedules), short=SHORT, width=screen_width())


async def _create(client: PolosClient, options: argparse.Namespace) -> str:
    return _told(await client.create_schedule(options.workflow, name=options.name, **_said(options)))


async def _change(client: PolosClient, options: argparse.Namespace) -> str:
    said = _said(options)
    if not said:
        raise DefinitionError(f"Say what shall be different about {options.name}: `polos schedules change --help`")
    return _told(await client.change_schedule(options.name, reason=options.reason, **said))


def _said(options: argparse.Namespace) -> dict[str, Any]:
    names = {"cron": "cron", "every": "every", "at": "at", "timezone": "timezone", "queue": "queue_name",
             "payload": "payload", "catch_up": "catch_up", "overlap": "overlap"}  # fmt: skip
    return {
        theirs: getattr(options, ours)
        for ours, theirs in names.items()
        if ours in options and (ours == "payload" or getattr(options, ours) is not None)
    }


async def _pause(client: PolosClient, options: argparse.Namespace) -> str:
    return _told(await client.pause_schedule(options.name, reason=options.reason))


async def _resume(client: PolosClient, options: argparse.Namespace) -> str:
    return _told(await client.resume_schedule(options.name))


async def _run(client: PolosClient, options: argparse.Namespace) -> str:
    return (await client.run_schedule(options.name)).id


async def _delete(client: PolosClient, options: argparse.Namespace) -> str:
    await client.delete_schedule(options.name)
    return f"{options.name} is deleted"


def _told(schedule: Schedule) -> str:
    if schedule.paused:
        return f"{schedule.name} is paused"
    return f"{schedule.name} starts {schedule.workflow_id} {_next(schedule) or 'never again'}"


def _row(schedule: Schedule) -> tuple[object, ...]:
    return (
        schedule.name, schedule.workflow_id, schedule.queue, _when(schedule), _next(schedule), _last(schedule),
        _state(schedule),
    )  # fmt: skip


def _when(schedule: Schedule) -> str:
    if schedule.cron:
        return f"{schedule.cron} {schedule.timezone}"
    if schedule.every:
        return f"every {duration(schedule.every)}"
    return "" if schedule.at is None else f"{schedule.at.astimezone():%Y-%m-%d %H:%M}"


def _next(schedule: Schedule) -> str:
    if not schedule.next:
        return ""
    left = (schedule.next[0] - dt.datetime.now(dt.UTC)).total_seconds()
    return f"in {duration(max(0.0, left))}"


def _last(schedule: Schedule) -> str:
    if not schedule.ticks:
        return ""
    tick = schedule.ticks[0]
    return f"{tick.status or tick.outcome} {short_id(tick.execution_id) if tick.execution_id else ''}".rstrip()


def _state(schedule: Schedule) -> str:
    if schedule.paused:
        return f"paused: {schedule.paused_reason}" if schedule.paused_reason else "paused"
    return "on" if schedule.next else "over"
