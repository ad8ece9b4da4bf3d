from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.models import Quantity
from nightshift.remediation.text import age_in_words, counted, listed, printable, shell_word, sql_name

RAW = re.compile(r"[`|<>&\[\]{}*~\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("/var/log/app_1.log.1", "/var/log/app_1.log.1"),
        ("/srv/Überblick 2024.txt", "/srv/Überblick 2024.txt"),
        ("a\nb\x1b[31m", r"a\x0ab\x1b\x5b31m"),
        ("`rm -rf /`|x", r"\x60rm -rf /\x60\x7cx"),
        ("<script>&", r"\x3cscript\x3e\x26"),
        ("[click](http://evil)", r"\x5bclick\x5d(http\x3a//evil)"),
        ("www.evil.com", r"www\x2eevil.com"),
        ("{{ flow.name }}", r"\x7b\x7b flow.name \x7d\x7d"),
        ("__init__.py", r"\x5f\x5finit\x5f\x5f.py"),
        ("gnp\u202egpj", r"gnp\u202egpj"),
        ("\U000e0001", r"\U000e0001"),
        ("back\\slash", r"back\x5cslash"),
        (r"already\x0aescaped", r"already\x0aescaped"),
    ],
)
def test_names_are_shown_without_meaning_anything_to_markdown_html_or_a_terminal(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@settings(max_examples=2000)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_whatever_the_text_nothing_raw_is_left_and_escaping_again_changes_nothing(text: str) -> None:
    shown = printable(text, limit=10_000)

    assert not RAW.search(shown)
    assert shown.isprintable()
    assert printable(shown, limit=10_000) == shown


@settings(max_examples=1000)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_a_word_of_a_shown_command_is_one_word_whatever_it_says(text: str) -> None:
    assert shlex.split(f"redis-cli get {shell_word(text)}") == ["redis-cli", "get", printable(text)]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("shop-api", "shop-api"),
        ("a b", "'a b'"),
        ("x; reboot", "'x; reboot'"),
        ("it's", "'it'\"'\"'s'"),
        ("$(id)", "'$(id)'"),
    ],
)
def test_a_word_of_a_shown_command_runs_nothing(name: str, word: str) -> None:
    assert shell_word(name) == word


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        (("public", "trade"), "public.trade"),
        (("Shop", "Order lines"), '"Shop"."Order lines"'),
        (('x"; drop table trade; --',), '"x""; drop table trade; --"'),
        (("",), '""'),
    ],
)
def test_a_name_in_a_shown_statement_stays_a_name(parts: tuple[str, ...], shown: str) -> None:
    assert sql_name(*parts) == shown


def test_a_long_path_keeps_its_end() -> None:
    shown = printable("/a" * 500 + "/the-name.log", limit=50)

    assert len(shown) == 50
    assert shown.startswith("/a/a")
    assert shown.endswith("/the-name.log")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(7 * 86400, "7 days"), (86400, "1 day"), (36 * 3600, "36 hours"), (90, "90 seconds"), (0, "0 seconds")],
)
def test_ages_are_said_in_the_largest_exact_unit(seconds: int, words: str) -> None:
    assert age_in_words(seconds) == words


def test_numbers_and_lists_read_like_language() -> None:
    assert counted(1, "file") == "1 file"
    assert counted(1204, "directory", "directories") == "1,204 directories"
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("amount", "unit", "said"),
    [
        (1, "containers", "1 container"),
        (2, "containers", "2 containers"),
        (1, "processes", "1 process"),
        (1, "indexes", "1 index"),
        (1, "storage classes", "1 storage class"),
        (1, "s", "1 s"),
        (0, "rows", "0 rows"),
    ],
)
def test_one_of_something_is_named_in_the_singular(amount: int, unit: str, said: str) -> None:
    assert str(Quantity(amount=amount, unit=unit)) == said
