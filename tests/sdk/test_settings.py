from __future__ import annotations

from pathlib import Path

import pytest

from polos import ConfigurationError, PolosClient
from polos._settings import load_settings


def test_defaults() -> None:
    settings = load_settings()
    assert settings.api_url == "http://127.0.0.1:8080"
    assert settings.api_key is None
    assert settings.max_concurrent == 200
    assert settings.worker_name


def test_a_file_above_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(
        "POLOS_API_URL=http://localhost:1\nPOLOS_MAX_CONCURRENT=7\nPOLOS_WORKER_NAME=w\n"
    )
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setenv("POLOS_MAX_CONCURRENT", "8")
    settings = load_settings()
    assert (settings.api_url, settings.max_concurrent, settings.worker_name) == ("http://localhost:1", 8, "w")


def test_arguments_win_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLOS_API_URL", "http://localhost:1")
    assert load_settings(api_url="http://localhost:2/").api_url == "http://localhost:2"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8080",
        "ftp://localhost",
        "http://",
        "http://u:p@localhost",
        "http://localhost?a=1",
        "http://a:b:c",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="POLOS_API_URL"):
        load_settings(api_url=url)


def test_a_key_never_crosses_the_network_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="unencrypted") as caught:
        load_settings(api_url="http://polos.example.org", api_key="polos_1_secret")
    assert "secret" not in str(caught.value)
    for fine in ("https://polos.example.org", "http://127.0.0.1:80", "http://[::1]:80", "http://localhost"):
        load_settings(api_url=fine, api_key="polos_1_secret")
    load_settings(api_url="http://polos.example.org")
    monkeypatch.setenv("POLOS_ALLOW_HTTP", "1")
    load_settings(api_url="http://polos.example.org", api_key="polos_1_secret")


def test_a_key_that_no_header_can_hold_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="POLOS_API_KEY") as caught:
        load_settings(api_key="polos_1_sec\nret")
    assert "sec" not in str(caught.value)


def test_the_key_is_in_no_repr() -> None:
    client = PolosClient(api_key="polos_1_secret")
    assert "secret" not in repr(client) + repr(client.settings)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "100001"])
def test_max_concurrent_is_a_number(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLOS_MAX_CONCURRENT", value)
    with pytest.raises(ConfigurationError, match="POLOS_MAX_CONCURRENT"):
        load_settings()
