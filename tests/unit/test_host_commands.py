from __future__ import annotations

import os
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.clients.host import Completed, bounded_command, check, encoded, plain, settled
from nightshift.remediation.errors import (
    CommandFailedError,
    CommandTimeoutError,
    DiskFullError,
    OutcomeUnknownError,
    PermanentError,
    ReadOnlyFilesystemError,
)

_ARGUMENTS = st.lists(st.binary().filter(lambda raw: b"\0" not in raw).map(os.fsdecode), min_size=1)


@given(_ARGUMENTS)
def test_a_shell_reads_exactly_the_arguments_that_were_given(argv: list[str]) -> None:
    line = shlex.join(bounded_command(argv, 30, None))

    assert shlex.split(line) == ["env", "LC_ALL=C", "timeout", "-k", "5", "30", *argv]
    assert os.fsdecode(encoded(line)) == line


def test_as_root_the_time_limit_is_roots_own_so_that_it_can_end_the_command() -> None:
    assert bounded_command(["df"], 1.5, "sudo") == [
        *("sudo", "-n", "--", "env", "LC_ALL=C", "timeout", "-k", "5", "1.5", "df")
    ]


@pytest.mark.parametrize(("argv", "timeout"), [([], 1), (["a\0"], 1), (["true"], 0), (["true"], -1)])
def test_what_no_host_can_run_is_refused(argv: list[str], timeout: float) -> None:
    with pytest.raises(PermanentError):
        bounded_command(argv, timeout, None)


@pytest.mark.parametrize(
    ("status", "elapsed", "error"),
    [
        (124, 31, CommandTimeoutError),
        (137, 36, CommandTimeoutError),
        (-9, 36, CommandTimeoutError),
        (-9, 3, OutcomeUnknownError),
    ],
)
def test_a_command_that_was_ended_is_not_taken_for_one_that_failed(
    status: int, elapsed: float, error: type[OutcomeUnknownError]
) -> None:
    with pytest.raises(error) as raised:
        settled(Completed(status), "docker", "web1", timeout=30, elapsed=elapsed)

    assert type(raised.value) is error


@pytest.mark.parametrize(("status", "elapsed"), [(0, 1), (124, 1), (137, 1), (1, 31), (0, 31)])
def test_a_command_that_ended_by_itself_is_an_answer(status: int, elapsed: float) -> None:
    assert settled(Completed(status), "docker", "web1", timeout=30, elapsed=elapsed).returncode == status


@pytest.mark.parametrize(
    ("complaint", "error"),
    [
        (b"sort: write failed: /tmp/sortX: No space left on device\n", DiskFullError),
        (b"rm: cannot remove '/data/x': Read-only file system\n", ReadOnlyFilesystemError),
        (b"Failed to restart nosuch.service: Unit nosuch.service not found.\n", CommandFailedError),
        (b"", CommandFailedError),
    ],
)
def test_a_failed_command_becomes_the_error_that_fits(complaint: bytes, error: type[PermanentError]) -> None:
    with pytest.raises(error, match="Could not tidy up: status 2") as raised:
        check(Completed(2, stderr=complaint), "tidy up")

    assert type(raised.value) is error


@given(st.text())
def test_foreign_text_in_errors_stays_on_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)
