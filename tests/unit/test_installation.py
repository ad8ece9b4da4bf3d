from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from nightshift.catalogue import Catalogue
from nightshift.catalogue.secret_places import named_variables
from nightshift.remediation.errors import ConfigurationError
from nightshift.running.installation import BusyError, Installation
from nightshift.running.lent_variables import changed_since, missing_in
from nightshift.running.prefect_server import asyncpg_url, postgresql_url, server_environment
from nightshift.running.processes import DetachedProcess, Program
from nightshift.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATABASE_URL", "PREFECT_API_URL", "OWN_PREFECT_API_URL", "PREFECT_PORT", "GATEWAY_PORT"):
        monkeypatch.delenv(f"NIGHTSHIFT_{name}", raising=False)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    return tmp_path


def installed(**changes: object) -> Installation:
    return Installation(Settings(**changes))


def test_what_up_wrote_is_read_by_later_commands(home: Path) -> None:
    url = "postgresql://nightshift:p%27w@127.0.0.1:5/nightshift"
    installed(database_url=SecretStr(url), gateway_port=8421, webhook_token=SecretStr("t#o=ken $x")).write_env_file()

    later = Settings()

    assert later.database_url.get_secret_value() == url
    assert later.gateway_port == 8421
    assert later.webhook_token.get_secret_value() == "t#o=ken $x"
    assert (home / "nightshift.env").stat().st_mode & 0o777 == 0o600


def test_a_bare_up_comes_up_with_every_setting_that_the_first_one_had(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {
        "runbooks": str(home),
        "database_url": "postgresql://u:p@h/d",
        "prefect_database_url": "postgresql://u:p@h/prefect",
        "prefect_api_url": "http://prefect.example/api",
        "gateway_host": "0.0.0.0",  # noqa: S104 - compared, not listened on
        "webhook_token": "t" * 32,
        "code_key": Fernet.generate_key().decode(),
        "alertmanagers": '{"eu": ["http://ada:p%40w@am1:9093", {"url": "http://am2", "token": "s", "receiver": "r"}]}',
        "page_url": "json://127.0.0.1:1/x?a=b#c",
        "work_pool": "elsewhere",
    }
    settled_elsewhere = {"home", "postgres_port", "own_prefect_api_url"}
    for name, field in Settings.model_fields.items():
        if name not in settled_elsewhere:
            monkeypatch.setenv(f"NIGHTSHIFT_{name.upper()}", chosen.get(name) or str(field.default + 1))
    first = Settings()
    installed().write_env_file()
    for name in Settings.model_fields.keys() - {"home"}:
        monkeypatch.delenv(f"NIGHTSHIFT_{name.upper()}", raising=False)

    assert Settings() == first
    assert all(getattr(first, name) != Settings.model_fields[name].default for name in chosen)
    assert installed().environment == Installation(first).environment


@pytest.mark.usefixtures("home")
def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(gateway_port=8421).write_env_file()
    monkeypatch.setenv("NIGHTSHIFT_GATEWAY_PORT", "8422")

    assert Settings().gateway_port == 8422


@pytest.mark.parametrize("token", ["a'b", "a\\b", "a\nNIGHTSHIFT_HOME=/x", "${HOME}"])
def test_a_value_that_readers_understand_differently_is_refused_without_showing_it(home: Path, token: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        installed(webhook_token=SecretStr(token)).write_env_file()

    assert "NIGHTSHIFT_WEBHOOK_TOKEN" in str(refusal.value)
    assert token not in str(refusal.value)
    assert not (home / "nightshift.env").exists()


@pytest.mark.usefixtures("home")
def test_a_webhook_token_is_made_once_and_kept() -> None:
    first = installed()
    first.write_env_file()

    assert installed().webhook_token == first.webhook_token
    assert len(first.webhook_token.get_secret_value()) >= 32


@pytest.mark.usefixtures("home")
def test_our_own_prefect_server_is_still_ours_at_the_next_up() -> None:
    installed(prefect_port=4201).write_env_file()

    again = installed()

    assert again.runs_prefect_server
    assert again.prefect_api_url == "http://127.0.0.1:4201/api"
    assert again.with_ports(4300, None, None).prefect_api_url == "http://127.0.0.1:4300/api"


@pytest.mark.usefixtures("home")
def test_a_prefect_server_that_the_user_gives_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    installed().write_env_file()
    monkeypatch.setenv("NIGHTSHIFT_PREFECT_API_URL", "http://prefect.example/api/")
    given = installed()
    given.write_env_file()
    monkeypatch.delenv("NIGHTSHIFT_PREFECT_API_URL")

    remembered = installed()

    assert not given.runs_prefect_server
    assert not remembered.runs_prefect_server
    assert remembered.prefect_api_url == "http://prefect.example/api"
    with pytest.raises(ConfigurationError, match="none of ours"):
        remembered.with_ports(4300, None, None)


@pytest.mark.usefixtures("home")
def test_two_ups_at_a_time_are_one_too_many() -> None:
    with installed().prepared(), pytest.raises(BusyError), installed().prepared():
        pass


@pytest.mark.usefixtures("home")
def test_a_wrong_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    from nightshift.settings import settings

    monkeypatch.setenv("NIGHTSHIFT_GATEWAY_PORT", "hunter2")
    settings.cache_clear()
    try:
        with pytest.raises(ConfigurationError, match="NIGHTSHIFT_GATEWAY_PORT") as refusal:
            settings()
    finally:
        settings.cache_clear()
    assert "hunter2" not in str(refusal.value)


def test_prefect_gets_the_url_for_its_driver_with_every_character_kept() -> None:
    url = asyncpg_url("postgresql://us%40er:p%2Fw%23@db.example:6432/prefect?sslmode=require")

    assert url == "postgresql+asyncpg://us%40er:p%2Fw%23@db.example:6432/prefect?ssl=require"


@pytest.mark.parametrize("wrong", ["sqlite:///x.db", "not a url with hunter2", "mysql://u:hunter2@h/d"])
def test_a_url_of_something_else_is_refused_without_showing_it(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        postgresql_url(wrong)
    assert "hunter2" not in str(refusal.value)


def test_only_the_servers_own_ui_may_call_it(tmp_path: Path) -> None:
    environment = server_environment(tmp_path, "postgresql://u:p@h/d", 4200)

    assert environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200,http://localhost:4200"
    assert environment["PREFECT_SERVER_API_HOST"] == "127.0.0.1"
    assert environment["PREFECT_API_KEY"] is None


def test_a_part_that_runs_without_a_variable_of_the_catalogue_is_known_from_one_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = "{kind: slack, title: '#shop', url: {env: SHOP_URL}}"
    database = "{type: postgres, url: {env: SHOP_DATABASE}}"
    (tmp_path / "shop.yaml").write_text(
        f"id: shop\ndisplay: Shop\ntitle: sells nothing\nchannels: {{oncall: {channel}}}\n"
        f"severities: {{critical: {{notify: [oncall]}}, warning: {{}}, info: {{}}}}\nconnections: {{db: {database}}}\n"
    )
    monkeypatch.delenv("SHOP_URL", raising=False)
    monkeypatch.setenv("SHOP_DATABASE", "postgresql://u:p@h/d")
    named = named_variables(Catalogue.load(tmp_path).systems.values())
    part = DetachedProcess("part", pid_folder=tmp_path, log_folder=tmp_path)
    assert (changed_since(part, named), missing_in(part, named)) == (["SHOP_DATABASE"], ["SHOP_DATABASE", "SHOP_URL"])

    part.start(Program(["sleep", "60"]))
    try:
        assert (changed_since(part, named), missing_in(part, named)) == ([], ["SHOP_URL"])
        monkeypatch.setenv("SHOP_DATABASE", "postgresql://u:new@h/d")
        assert changed_since(part, named) == ["SHOP_DATABASE"]
        monkeypatch.delenv("SHOP_DATABASE")  # a bare `up` of a supervisor takes nothing from a part that has it
        assert changed_since(part, named) == []
    finally:
        part.stop(grace=0)
