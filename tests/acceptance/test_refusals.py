"""What goes wrong is said in one sentence, with what to do, and ends with an exit code that is not 0."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psycopg
import pytest

from tests import servers


def refused(*arguments: str, env: dict[str, str] | None = None) -> str:
    done = servers.run(arguments, env=env)
    assert done.returncode not in (0, None), done.stdout
    assert "Traceback" not in done.stderr
    said = done.stderr.strip()
    assert said.startswith("polos-server: "), said
    assert "\n" not in said
    return said


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "--port" in refused("start", "--data-dir", str(tmp_path / "data"), "--port", port)
    assert not (tmp_path / "data" / "postgres").exists()


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    assert "--host" in refused("start", "--data-dir", str(tmp_path / "data"), "--host", "192.0.2.1")


def test_an_unreachable_database(tmp_path: Path) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{servers.free_port()}/queues"
    said = refused("start", "--data-dir", str(tmp_path / "data"), "--port", port(), env={"DATABASE_URL": url})
    assert "DATABASE_URL" in said
    assert "secret" not in said


@pytest.mark.parametrize("url", ["mysql://localhost/queues", "postgresql://localhost/", "postgresql://a?b=c"])
def test_a_database_url_that_means_nothing(tmp_path: Path, url: str) -> None:
    assert "DATABASE_URL" in refused("check", "--data-dir", str(tmp_path / "data"), env={"DATABASE_URL": url})


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--data-dir" in refused("check", "--data-dir", str(tmp_path / "file"))


def test_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    assert "--data-dir" in refused("check", "--data-dir", str(tmp_path))
    assert os.listdir(tmp_path) == ["thesis.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "--data-dir" in refused("check", "--data-dir", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLOS_PORT", "http"),
        ("POLOS_PORT", "70000"),
        ("POLOS_LEASE_SECONDS", "soon"),
        ("POLOS_LEASE_SECONDS", "5"),
        ("POLOS_DEFAULT_CONCURRENCY_LIMIT", "-1"),
        ("POLOS_PUBLIC_URL", "queues.example.com"),
        ("POLOS_LOG_LEVEL", "loud"),
    ],
)
def test_a_setting_that_means_nothing(tmp_path: Path, name: str, value: str) -> None:
    assert name in refused("check", "--data-dir", str(tmp_path / "data"), env={name: value})


def test_a_database_that_is_newer_than_the_code(tmp_path: Path, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("insert into django_migrations (app, name, applied) values ('queues', '9999_later', now())")
    try:
        env = {"DATABASE_URL": servers.url_of(dsn)}
        said = refused("start", "--data-dir", str(tmp_path / "data"), "--port", port(), env=env)
    finally:
        with psycopg.connect(dsn, autocommit=True) as db:
            db.execute("delete from django_migrations where name = '9999_later'")
    assert "queues.9999_later" in said
    assert "newer" in said


def test_an_unknown_option() -> None:
    done = servers.run(["start", "--colour"])
    assert done.returncode == 2
    assert "--colour" in done.stderr
    assert "Traceback" not in done.stderr


def port() -> str:
    return str(servers.free_port())
