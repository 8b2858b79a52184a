"""The other commands, on the database of a running server."""

from __future__ import annotations

import re

import pytest

from tests import servers
from tests.servers import Server


def said(server: Server, *arguments: str) -> str:
    name, *rest = arguments
    done = servers.run([name, "--data-dir", str(server.data_dir), *rest])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_check_says_what_it_found(running_server: Server) -> None:
    words = said(running_server, "check")
    assert str(running_server.data_dir) in words
    assert "up to date" in words
    assert "in order" in words


@pytest.mark.parametrize(
    "setting",
    [
        {"POLOS_HOST": "0.0.0.0"},  # noqa: S104
        {"POLOS_PUBLIC_URL": "https://queues.example.com"},
        {"POLOS_ALLOWED_HOSTS": "queues.internal"},
    ],
)
def test_local_mode_is_off_when_others_may_reach_the_server(
    running_server: Server, setting: dict[str, str]
) -> None:
    done = servers.run(["check", "--data-dir", str(running_server.data_dir)], env=setting)
    assert re.search(r"local mode +off", done.stdout), done.stdout


def test_migrate_has_nothing_left_to_do(running_server: Server) -> None:
    assert "up to date" in said(running_server, "migrate")


def test_another_signin_link(running_server: Server) -> None:
    assert re.search(r"/signin/[\w-]{43}\n", said(running_server, "signin-link"))


def test_an_admin_is_made_once(running_server: Server) -> None:
    assert "/signin/" in said(running_server, "createadmin", "grace")
    again = servers.run(["createadmin", "--data-dir", str(running_server.data_dir), "grace"])
    assert again.returncode == 1
    assert "already exists" in again.stderr


def test_the_first_key_ends_local_mode(server: servers.StartServer) -> None:
    one = server()
    assert servers.answers(f"{one.url}/api/v1/queues")
    text = re.search(r"polos_\w+", said(one, "createkey", "ci", "--queues", "billing/*"))
    assert text
    assert servers.eventually(lambda: not servers.answers(f"{one.url}/api/v1/queues"), seconds=6)
    assert servers.answers(f"{one.url}/api/v1/queues", key=text[0])


@pytest.mark.parametrize("arguments", [["--help"], ["start", "--help"], ["createkey", "--help"], ["--version"]])
def test_help_needs_no_database(arguments: list[str]) -> None:
    assert servers.run(arguments).returncode == 0
