from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.clients.host_probe.certificates import cause_of, retry_after
from nightshift.remediation.host_certificates.facts import (
    Certificate,
    CertificateDiagnosis,
    FailureCause,
    Lineage,
    Served,
)
from nightshift.remediation.host_certificates.planner import NOTHING_TO_DO, names_cover, plan_host_certificate
from nightshift.remediation.host_certificates.policy import HostCertificatePolicy
from nightshift.remediation.host_certificates.verification import judge_served
from nightshift.remediation.models import Plan, Risk, Target

DAY = 86400.0
NOW = 1_800_000_000.0
ENDPOINT = "https://shop.example"
TARGET = Target(system="shop", path=("host", "web1", "endpoint", ENDPOINT))
RULE = {
    "address": "shop.example",
    "server_name": "shop.example",
    "lineage": "shop.example",
    "reload": ["nginx.service", "dovecot.service"],
}
POLICY = HostCertificatePolicy.model_validate({"endpoints": {ENDPOINT: RULE}, "expires_within": "14d", "watch": "60s"})
RATE_LIMITED = (
    "urn:ietf:params:acme:error:rateLimited :: There were too many requests of a given type :: too many certificates "
    "(5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2027-01-17 08:00:00 UTC: "
    "see https://letsencrypt.org/docs/rate-limits/#new-certificates-per-exact-set-of-identifiers"
)


def certificate(serial: str = "a1", days: float = 5, names: tuple[str, ...] = ("shop.example",)) -> Certificate:
    return Certificate(
        serial=serial,
        sha256=serial * 32,
        subject="CN=shop.example",
        issuer="CN=R11",
        names=names,
        not_before=NOW - 80 * DAY,
        not_after=NOW + days * DAY,
    )


def diagnosis(
    served: Certificate | None = None, complaint: str = "", kept: Certificate | str | None = "same", **lineage: Any
) -> CertificateDiagnosis:
    shown = served or certificate()
    found = shown if isinstance(kept, str) else kept
    return CertificateDiagnosis(
        endpoint=ENDPOINT,
        served=Served(at=NOW, certificate=shown, complaint=complaint),
        lineage=Lineage(certificate=found, authenticator="webroot", timer_active=True).model_copy(update=lineage),
        now=NOW,
    )


def plan(**seen: Any) -> Plan:
    return plan_host_certificate(TARGET, diagnosis(**seen), POLICY)


def test_a_certificate_with_time_left_needs_nothing() -> None:
    made = plan(served=certificate(days=30))

    assert made.goal == NOTHING_TO_DO
    assert not (made.actions)
    assert not (made.refusals)
    assert not (made.proposals)


def test_one_that_ends_soon_is_renewed_once_and_its_services_reloaded() -> None:
    made = plan()

    assert [action.kind for action in made.actions] == ["renew_host_certificate", "reload_service", "reload_service"]
    assert made.risk is Risk.LOW
    assert str(made.actions[0].bound) == "1 certificate"
    assert made.actions[0].items == ("shop.example",)


def test_one_that_was_renewed_already_is_only_reloaded() -> None:
    made = plan(kept=certificate("b2", days=85))

    assert [action.kind for action in made.actions] == ["reload_service", "reload_service"]


def test_one_on_the_host_that_ends_as_soon_is_no_reason_to_reload() -> None:
    made = plan(kept=certificate("b2", days=3))

    assert made.actions[0].kind == "renew_host_certificate"


@pytest.mark.parametrize(
    ("lineage", "words"),
    [
        ({"cause": FailureCause.RATE_LIMITED, "retry_after": NOW + DAY}, "refuses more certificates before 2027-01-16"),
        ({"cause": FailureCause.RATE_LIMITED}, "did not say for how long"),
        ({"cause": FailureCause.NAME, "last_words": "NXDOMAIN"}, "does not resolve for the CA: NXDOMAIN"),
        ({"cause": FailureCause.ACCOUNT}, "does not know the account"),
        ({"authenticator": "manual"}, "a person has to answer its challenge"),
    ],
)
def test_what_another_try_cannot_change_is_refused_with_what_a_person_can_do(
    lineage: dict[str, Any], words: str
) -> None:
    made = plan(**lineage)

    assert not made.actions
    (refusal,) = made.refusals
    assert words in refusal.reason
    assert refusal.lifted_by


def test_a_rate_limit_that_has_passed_is_no_reason_to_wait() -> None:
    made = plan(cause=FailureCause.RATE_LIMITED, retry_after=NOW - 1)

    assert made.actions


@pytest.mark.parametrize("kept", [None, certificate(names=("other.example",))])
def test_where_renewing_would_not_help_a_person_is_told_what_would(kept: Certificate | None) -> None:
    made = plan(kept=kept)

    assert not made.actions
    (proposal,) = made.proposals
    assert "-d shop.example" in proposal.detail


def test_a_timer_that_stands_still_is_proposed_to_be_started() -> None:
    made = plan(timer_active=False)

    assert [proposal.detail for proposal in made.proposals] == ["systemctl enable --now certbot.timer"]


def test_what_clients_refuse_is_trouble_whatever_its_time() -> None:
    made = plan(served=certificate(days=80), complaint="self-signed certificate", kept=certificate("b2", days=80))

    assert [action.kind for action in made.actions] == ["reload_service", "reload_service"]


@pytest.mark.parametrize(
    ("names", "wanted", "covered"),
    [
        (("shop.example",), "shop.example", True),
        (("SHOP.example",), "shop.example", True),
        (("*.shop.example",), "www.shop.example", True),
        (("*.shop.example",), "a.www.shop.example", False),
        (("*.example",), "shop.example", True),
        (("*",), "localhost", False),
        ((), "shop.example", False),
    ],
)
def test_a_wildcard_stands_for_one_label(names: tuple[str, ...], wanted: str, covered: bool) -> None:
    assert names_cover(names, wanted) is covered


def looks(*good: bool, seconds: float = 60) -> list[Served]:
    step = seconds / max(1, len(good) - 1)
    return [
        Served(at=NOW + number * step, certificate=certificate("b2", 85) if fine else certificate())
        for number, fine in enumerate(good)
    ]


@pytest.mark.parametrize(
    ("seen", "healthy", "inconclusive"),
    [
        (looks(*[True] * 12), True, False),
        (looks(False, False, *[True] * 10), True, False),
        (looks(*[False] * 9, *[True] * 3), False, True),
        (looks(*[True] * 11, False), False, False),
        (looks(True, True), False, True),
        (looks(*[True] * 12, seconds=5), False, True),
        ([], False, True),
    ],
)
def test_the_new_one_must_be_shown_to_the_end(seen: list[Served], healthy: bool, inconclusive: bool) -> None:
    verdict = judge_served(diagnosis(), seen, POLICY)

    assert (verdict.healthy, verdict.inconclusive) == (healthy, inconclusive)


@given(good=st.lists(st.booleans(), max_size=20))
def test_an_old_certificate_at_the_end_is_never_success(good: list[bool]) -> None:
    assert not judge_served(diagnosis(), looks(*good, False), POLICY).healthy


def test_the_words_of_a_rate_limit_are_understood() -> None:
    assert cause_of(RATE_LIMITED) is FailureCause.RATE_LIMITED
    assert retry_after(RATE_LIMITED) == 1_800_172_800.0
    assert retry_after("retry after later") is None


@pytest.mark.parametrize(
    "change",
    [
        {"lineage": "../shop"},
        {"lineage": "-x"},
        {"server_name": "Shop Example"},
        {"server_name": "-x.example"},
        {"reload": ["nginx"]},
        {"reload": ["--now.service"]},
        {"reload": []},
        {"port": 0},
    ],
)
def test_names_that_could_be_something_else_are_refused_at_start(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HostCertificatePolicy.model_validate({"endpoints": {ENDPOINT: RULE | change}})
