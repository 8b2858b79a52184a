"""The small parts of starting: what the environment says, where the data is, what the log hides."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from polos_web import database, datadir, embedded, environment, logs
from polos_web.problems import Problem


@pytest.mark.parametrize(
    "given", ["", "postgres", "mysql://a/b", "postgresql://host", "postgresql://h/d?nonsense=1"]
)
def test_a_database_url_that_means_nothing_is_refused(given: str) -> None:
    with pytest.raises(Problem, match="DATABASE_URL"):
        database.parse_url(given)


def test_a_database_url_keeps_its_options() -> None:
    conninfo = database.parse_url("postgres://me:p%40ss@db.example:6432/queues?sslmode=require&application_name=x")
    settings = database.django_settings(conninfo, pool_size=7)
    assert (settings["NAME"], settings["USER"], settings["PASSWORD"]) == ("queues", "me", "p@ss")
    assert (settings["HOST"], settings["PORT"]) == ("db.example", "6432")
    assert settings["OPTIONS"]["sslmode"] == "require"
    assert settings["OPTIONS"]["pool"]["max_size"] == 7


@pytest.mark.parametrize("given", ["0", "70000", "-1", "1.5", "many", "٣"])
def test_a_number_out_of_range_is_refused_with_its_name(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLOS_PORT", given)
    with pytest.raises(Problem, match="POLOS_PORT"):
        environment.whole("POLOS_PORT", 8080, at_least=1, at_most=65535)


@pytest.mark.parametrize("given", ["nan", "inf", "soon", "-3"])
def test_seconds_are_finite(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLOS_LEASE_SECONDS", given)
    with pytest.raises(Problem, match="POLOS_LEASE_SECONDS"):
        environment.seconds("POLOS_LEASE_SECONDS", 30, at_least=1, at_most=3600)


def test_a_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    folder = datadir.prepare(tmp_path / "data")
    first = datadir.secret(folder, "secret-key")
    assert datadir.secret(folder, "secret-key") == first
    assert len(first) >= 50
    assert stat.S_IMODE((folder / "secret-key").stat().st_mode) == 0o600
    assert os.listdir(folder) == ["secret-key"]


def test_a_data_directory_that_was_opened_to_others_is_closed_again(tmp_path: Path) -> None:
    folder = datadir.prepare(tmp_path / "data")
    datadir.secret(folder, "secret-key")
    folder.chmod(0o755)
    datadir.prepare(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", [".new-abc", "start-stop.lock", "users.lock"])
def test_what_another_first_start_has_only_begun_is_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert datadir.prepare(tmp_path) == tmp_path


def test_a_folder_with_other_files_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    tmp_path.chmod(0o755)
    with pytest.raises(Problem, match="other files"):
        datadir.prepare(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_the_socket_of_a_long_data_directory_is_elsewhere(tmp_path: Path) -> None:
    folder = datadir.prepare(tmp_path / ("x" * 120))
    host = str(conninfo_to_dict(embedded.dsn(folder))["host"])
    assert len(f"{host}/.s.PGSQL.5432") < 104


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer polos_0123456789abcdef_SECRET",
        "the key polos_0123456789abcdef_SECRET is unknown",
        "Cookie: sessionid=SECRET; csrftoken=SECRET",
        "postgresql://me:SECRET@host/name",
        "GET /signin/SECRETSECRETSECRETSECRETSECRETSECRETSECRETS",
    ],
)
def test_secrets_stay_out_of_the_log(line: str) -> None:
    assert "SECRET" not in logs.redact(line)
    assert logs.HIDDEN in logs.redact(line)
