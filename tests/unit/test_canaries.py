"""The search for leaked secrets can fail: it finds a planted one, in each form and kind of place."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from lab.canaries import Canary, command_lines, files_below, leaks
from nightshift.remediation.errors import ConfigurationError
from nightshift.settings import settings

CANARY = Canary.hatch("a password")
TEXT = CANARY.text
FORMS = {
    "clear": TEXT,
    "in a URL": f"postgresql://user:{quote(TEXT, safe='')}@host/db",
    "in a URL in a URL": quote(quote(TEXT, safe=""), safe=""),
    "hex": TEXT.encode().hex(),
    "hex, large": TEXT.encode().hex().upper(),
    "basic auth": base64.b64encode(f"user:{TEXT}".encode()).decode(),
    "basic auth of another user": base64.b64encode(f"a:{TEXT}".encode()).decode(),
    "base64 with something behind it": base64.b64encode(f"abc{TEXT}: and more".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"ü~{TEXT}".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", ["logs/gateway.log", "deep/er/state.json"])
def test_a_planted_leak_is_found_in_a_file(tmp_path: Path, form: str, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(f'{{"before": 1, "message": "{form}"}}\nafter')

    (found, *_) = leaks([CANARY], files_below(tmp_path))

    assert found.canary == "a password"
    assert found.place.endswith(name)


def test_a_planted_leak_is_found_in_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / TEXT).touch()

    assert leaks([CANARY], files_below(tmp_path))


def test_a_planted_leak_is_found_in_a_command_line() -> None:
    program = [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()", TEXT]
    with subprocess.Popen(
        program, env={**os.environ, "MARK": "canary-test"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = leaks([CANARY], command_lines("canary-test"))
        process.communicate(b"")

    assert [leak.form for leak in found] == ["clear"]


def test_a_password_in_the_url_of_prefect_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_PREFECT_API_URL", f"http://user:{CANARY.quoted}@prefect:4200/api")
    settings.cache_clear()

    with pytest.raises(ConfigurationError, match="PREFECT_API_AUTH_STRING") as refused:
        settings()

    assert not leaks([CANARY], [("message", str(refused.value).encode())])


def test_other_text_is_no_leak_and_what_may_hold_secrets_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "nightshift.env").write_text(TEXT)
    (tmp_path / "log").write_text(Canary.hatch("another").text)

    assert leaks([CANARY], files_below(tmp_path, besides=[tmp_path / "nightshift.env"])) == []
