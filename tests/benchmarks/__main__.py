"""The benchmarks: ours and the peers in turn, in one run, on one PostgreSQL. `--help` lists the options."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import cluster, report
from .checks import Incorrect
from .contestants import OURS, PEERS, RAW
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
        results = report.Results(_about(options, postgres))
        bench = Bench(postgres, asgi=options.asgi, scale=options.scale, profile=_profile_folder(options))
        for number in range(1, options.rounds + 1):
            _round(bench, chosen, results, f"round {number} of {options.rounds}")
            if options.out:  # after each: a long run that is stopped leaves what it has
                report.write(results, OURS, options.out)
    results.about["load at the end"] = _load()
    _say(report.table(results, OURS))
    if options.out:
        report.write(results, OURS, options.out)
        _say(f"\nWritten to {options.out}.")
    return 1 if results.troubles else 0


def _round(bench: Bench, chosen: list[Scenario], results: report.Results, title: str) -> None:
    for scenario in chosen:
        for contestant in scenario.contestants:
            try:
                figures = bench.run(scenario, contestant)
            except Incorrect as trouble:
                results.troubles.append(f"{title}, {scenario.name}, {contestant}: {trouble}")
                _say(results.troubles[-1])
                continue
            results.add(scenario, contestant, figures)
            _say(f"{title}: {scenario.name:26} {contestant:14} {_brief(figures)}", error=True)


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    if options.smoke:
        return list(SMOKE)
    suites = options.only or USUAL
    found = [each for each in SCENARIOS if each.suite in suites and options.scenario in each.name]
    return [_with(each, options.who) for each in found if not options.who or set(each.contestants) & options.who]


def _with(scenario: Scenario, who: set[str]) -> Scenario:
    return replace(scenario, contestants=tuple(each for each in scenario.contestants if not who or each in who))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=_several(SUITES), help=f"of {','.join(SUITES)}; usually {','.join(USUAL)}")
    parser.add_argument("--scenario", default="", metavar="TEXT", help="only those whose name has this in it")
    parser.add_argument("--who", type=_several((OURS, *PEERS, RAW)), default=set(), help="only these contestants")
    parser.add_argument("--asgi", choices=("daphne", "uvicorn"), default="daphne")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times as many jobs")
    parser.add_argument("--smoke", action="store_true", help="ours only, tiny: does it run, is it correct?")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write results.json, report.md and rates.svg there"
    )
    parser.add_argument("--profile", action="store_true", help="py-spy on the server, sessions of PostgreSQL")
    return parser


def _several(allowed: Sequence[str]) -> Any:
    def parse(text: str) -> set[str]:
        chosen = set(text.split(","))
        if unknown := chosen - set(allowed):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(allowed)}")
        return chosen

    return parse


def _fetch_peers() -> None:
    """Starts again with the dependency group that holds them, unless they are here."""
    if all(find_spec(name) for name in ("asyncpg", *PEERS)):
        return
    if os.environ.get(ONCE):
        sys.exit("The peers cannot be installed. `--who polos` measures ours only.")
    os.environ[ONCE] = "1"
    command = ["uv", "run", "--group", "benchmarks", "python", "-m", "tests.benchmarks", *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)


def _profile_folder(options: argparse.Namespace) -> Path | None:
    return (options.out or Path("build/benchmarks")) / "profile" if options.profile else None


def _about(options: argparse.Namespace, postgres: cluster.Cluster) -> dict[str, Any]:
    return {
        "server": options.asgi,
        "rounds": options.rounds,
        "scale": options.scale,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "postgresql": postgres.settings(),
        "versions": {name: _version(name) for name in ("polos-web", *PEERS, "asyncpg", "psycopg", "httptools")},
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
