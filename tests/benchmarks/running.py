"""One run: a fresh database, the servers, and what the scenario measures on them."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests import servers
from tests.servers import Server

from . import redis_server
from .accounting import Figures
from .cluster import Cluster
from .contestants import CELERY, OURS, Task
from .measures import MEASURES
from .profiling import Profiler
from .scenarios import Scenario
from .stage import Process, Stage


class Bench:
    """Runs scenarios on one cluster. Each contestant's empty schema is made once and copied for every run."""

    def __init__(self, cluster: Cluster, *, scale: float = 1.0, profile: Path | None = None) -> None:
        self.cluster, self.scale, self.profile = cluster, scale, profile
        self._templates: dict[str, str] = {}
        self._api_key = ""

    def run(self, scenario: Scenario, contestant: str, *, asgi: str) -> Figures:
        """`asgi` is the server that ours runs on. Raises Incorrect when a promise was broken or nothing came to
        an end."""
        with self.cluster.fresh(self._template(contestant)) as dsn, ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="polos-run-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            url = servers.url_of(dsn)
            if contestant == CELERY:
                url = stack.enter_context(redis_server.running(folder))
            task = self._task(scenario, contestant, url, folder)
            stage = Stage(self.cluster, folder, dsn, task, scenario.scaled(self.scale), stack)
            if contestant == OURS:
                self._start_servers(stage, asgi)
            return MEASURES[scenario.kind](stage)

    def _task(self, scenario: Scenario, contestant: str, url: str, folder: Path) -> Task:
        return Task(
            contestant=contestant, database_url=url, limit=scenario.limit, job_seconds=scenario.job_seconds,
            jobs=scenario.jobs_of(contestant, self.scale), steps=scenario.steps, queues=scenario.queues,
            tape=folder / "bench-0", api_key=self._api_key, max_concurrent=scenario.max_concurrent,
        )  # fmt: skip

    def _start_servers(self, stage: Stage, asgi: str) -> None:
        env = {"DATABASE_URL": servers.url_of(stage.dsn)}
        for index in range(stage.scenario.servers):
            server = servers.launch(stage.folder / f"server-{index}", "--asgi", asgi, env=env)
            stage.stack.callback(_kill, server)
            stage.servers.append(server)
        for server in stage.servers:
            server.wait_until_ready()
        stage.task = replace(stage.task, api_url=stage.servers[0].url)
        if self.profile:
            name, pid = f"{stage.scenario.name} {asgi}", stage.servers[0].process.pid
            stage.profiler = Profiler(self.profile, name, pid, stage.dsn)

    def _template(self, contestant: str) -> str:
        if contestant not in self._templates:
            name = f"template_{contestant}"
            self.cluster.drop(name)
            dsn = self.cluster.create(name)
            task = Task(contestant=contestant, database_url=servers.url_of(dsn))
            self._set_up(task)
            self._templates[contestant] = name
        return self._templates[contestant]

    def _set_up(self, task: Task) -> None:
        with tempfile.TemporaryDirectory(prefix="polos-setup-") as folder:
            if task.contestant == OURS:
                self._api_key = _migrate(task.database_url, folder)
                return
            process = Process("set_up", task, Path(folder))
            try:
                process.go()
                process.answer()
            finally:
                process.kill()


def _migrate(url: str, folder: str) -> str:
    """The server's own commands; returns a key."""
    env = {"DATABASE_URL": url, "POLOS_DATA_DIR": folder}
    migrated = servers.run(["migrate"], env=env)
    made = servers.run(["createkey", "benchmarks"], env=env)
    found = [word for word in made.stdout.split() if word.startswith("polos_")]
    if not found:
        raise RuntimeError(f"no key was made: {migrated.stdout}{migrated.stderr}{made.stdout}{made.stderr}")
    return found[0]


def _kill(server: Server) -> None:
    server.process.kill()
    server.wait_for_end()
