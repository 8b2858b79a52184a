"""The benchmarks: ours and the peers in turn, in one run, on one PostgreSQL. `--help` lists the options."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import cluster, redis_server, report
from .checks import Incorrect
from .contestants import CELERY, OURS, PEERS, RAW
from .running import Bench
from .scenarios import SCENARIOS, SMOKE, SUITES, USUAL, Scenario

ONCE = "POLOS_BENCHMARKS_FETCHED"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.rounds = 1 if options.smoke else options.rounds
    chosen = _scenarios(options)
    if any(who != OURS for scenario in chosen for who in scenario.contestants):
        _fetch_peers()
    with cluster.running() as postgres:
        ours = tuple(_label(OURS, asgi) for asgi in options.asgi)
        results = report.Results(_about(options, postgres, chosen), ours)
        bench = Bench(postgres, scale=options.scale, profile=_profile_folder(options))
        for number in range(1, options.rounds + 1):
            for scenario in chosen:
                _turn(bench, scenario, options.asgi, results, f"round {number} of {options.rounds}")
            if options.out:  # after each: a long run that is stopped leaves what it has
                report.write(results, options.out)
    results.about["load at the end"] = _load()
    _say(report.table(results))
    if options.out:
        report.write(results, options.out)
        _say(f"\nWritten to {options.out}.")
    return 1 if results.troubles else 0


def _turn(bench: Bench, scenario: Scenario, servers: Sequence[str], results: report.Results, title: str) -> None:
    """Everybody once; ours once on each server."""
    for contestant in scenario.contestants:
        for asgi in servers if contestant == OURS else servers[:1]:
            label = _label(contestant, asgi)
            try:
                figures = bench.run(scenario, contestant, asgi=asgi)
            except Incorrect as trouble:
                results.troubles.append(f"{title}, {scenario.name}, {label}: {trouble}")
                _say(results.troubles[-1])
                continue
            results.add(scenario, label, figures)
            _say(f"{title}: {scenario.name:34} {label:16} {_brief(figures)}", error=True)


def _label(contestant: str, asgi: str) -> str:
    return f"{contestant} on {asgi}" if contestant == OURS else contestant


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    if options.smoke:
        return list(SMOKE)
    suites = SUITES if "all" in options.only else options.only
    found = [each for each in SCENARIOS if each.suite in suites and options.scenario in each.name]
    found = [replace(each, churn=options.churn) if each.churn else each for each in found]
    takes_part = _present(options.who or {who for each in found for who in each.contestants})
    return [_with(each, takes_part) for each in found if set(each.contestants) & takes_part]


def _present(wanted: set[str]) -> set[str]:
    if CELERY not in wanted or redis_server.is_here():
        return wanted
    _say(f"celery is left out: there is no {redis_server.COMMAND} on the PATH.", error=True)
    return wanted - {CELERY}


def _with(scenario: Scenario, takes_part: set[str]) -> Scenario:
    return replace(scenario, contestants=tuple(each for each in scenario.contestants if each in takes_part))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", type=_several((*SUITES, "all")), default=set(USUAL),
        help=f"of {','.join(SUITES)}, or all; usually {','.join(USUAL)}",
    )  # fmt: skip
    parser.add_argument("--scenario", default="", metavar="TEXT", help="only those whose name has this in it")
    parser.add_argument(
        "--who", type=_several((OURS, *PEERS, CELERY, RAW)), default=set(), help="only these contestants"
    )
    parser.add_argument(
        "--asgi", type=_in_order(("daphne", "uvicorn")), default=["daphne"],
        help="the server that ours runs on; daphne,uvicorn for both in turn",
    )  # fmt: skip
    parser.add_argument("--churn", type=float, default=60.0, metavar="SECONDS", help="how long the churn goes on")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times as many jobs")
    parser.add_argument("--smoke", action="store_true", help="ours only, tiny: does it run, is it correct?")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write results.json, report.md and plots there")
    parser.add_argument("--profile", action="store_true", help="py-spy on the server, sessions of PostgreSQL")
    return parser


def _several(allowed: Sequence[str]) -> Callable[[str], set[str]]:
    in_order = _in_order(allowed)
    return lambda text: set(in_order(text))


def _in_order(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = list(dict.fromkeys(text.split(",")))
        if unknown := set(chosen) - set(allowed):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(allowed)}")
        return chosen

    return parse


def _fetch_peers() -> None:
    """Starts again with the dependency group that holds them, unless they are here."""
    if all(find_spec(name) for name in ("asyncpg", *PEERS, CELERY, "redis")):
        return
    if os.environ.get(ONCE):
        sys.exit("The peers cannot be installed. `--who polos` measures ours only.")
    os.environ[ONCE] = "1"
    command = ["uv", "run", "--group", "benchmarks", "python", "-m", "tests.benchmarks", *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)


def _profile_folder(options: argparse.Namespace) -> Path | None:
    return (options.out or Path("build/benchmarks")) / "profile" if options.profile else None


def _about(options: argparse.Namespace, postgres: cluster.Cluster, chosen: list[Scenario]) -> dict[str, Any]:
    return {
        "server": ", ".join(options.asgi),
        "rounds": options.rounds,
        "scale": options.scale,
        "churn": " ".join(f"{each:g} s" for each in sorted({each.churn for each in chosen if each.churn})) or "–",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "postgresql": postgres.settings(),
        "versions": {
            name: _version(name) for name in ("polos-web", *PEERS, CELERY, "asyncpg", "psycopg", "httptools")
        },
        "load at the beginning": _load(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "–"


def _load() -> str:
    return " ".join(f"{each:.2f}" for each in os.getloadavg())


def _brief(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:,.2f}" for name, value in figures.items())


def _say(text: str, *, error: bool = False) -> None:
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main())
