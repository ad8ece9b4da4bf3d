"""Why a certificate is not renewed, one renewal when nothing stands in its way, and whether the new one is served."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.certificates.cause import Cause, explain, is_staging
from nightshift.remediation.certificates.diagnosis import CertificateDiagnosis, Http01Look, Served
from nightshift.remediation.certificates.endpoints import endpoints_of
from nightshift.remediation.certificates.planner import NOTHING_TO_DO, findings_of, plan_renewal
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.certificates.verification import has_ended, judge
from nightshift.remediation.kubernetes.arguments import RenewCertificate, RolloutRestart
from nightshift.remediation.kubernetes.objects import (
    Certificate,
    CertificateRequest,
    Challenge,
    Condition,
    Event,
    Issuer,
    IssuerReference,
    Order,
    Owner,
)
from nightshift.remediation.models import Plan, Risk, Target
from tests.unit.kubernetes_values import NOW, ago, deployment, meta, pod

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "certificate", "web-tls"))
DAY = 86400.0
LETS_ENCRYPT = IssuerReference(name="letsencrypt-prod", kind="ClusterIssuer")
READY = Condition(type="Ready", status="True")
LIMITED = (
    "429 urn:ietf:params:acme:error:rateLimited: too many certificates (5) already issued, "
    "retry after 2026-03-04 06:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/"
)


def certificate(left: float = 3 * DAY, *conditions: Condition, **more: Any) -> Certificate:
    values: dict[str, Any] = {
        "secret": "web-tls",
        "dns_names": ("shop.example",),
        "not_after": NOW + timedelta(seconds=left),
        "revision": 4,
    }
    return Certificate(
        meta=meta("web-tls"), issuer=LETS_ENCRYPT, conditions=conditions or (READY,), **{**values, **more}
    )


def issuer(*conditions: Condition, server: str = "https://acme-v02.api.letsencrypt.org/directory") -> Issuer:
    return Issuer(
        meta=meta("letsencrypt-prod", ""),
        kind="ClusterIssuer",
        type="acme",
        acme_server=server,
        conditions=conditions or (READY,),
    )


def order(state: str = "pending", reason: str = "") -> Order:
    return Order(meta=meta("web-tls-5-1"), issuer=LETS_ENCRYPT, state=state, reason=reason, failed_at=ago(60))


def challenge(kind: str, reason: str = "waiting", **more: Any) -> Challenge:
    owners = (Owner(kind="Order", name="web-tls-5-1", uid="uid-shop-web-tls-5-1"),)
    details = meta("web-tls-5-1-1", owners=owners)
    return Challenge(
        meta=details, issuer=LETS_ENCRYPT, dns_name="shop.example", type=kind, reason=reason, state="pending", **more
    )


def request(*conditions: Condition, revision: int = 5) -> CertificateRequest:
    annotations = {"cert-manager.io/certificate-revision": str(revision)}
    details = meta("web-tls-5", annotations=annotations)
    return CertificateRequest(meta=details, issuer=LETS_ENCRYPT, conditions=conditions)


def seen(this: Certificate | None = None, **more: Any) -> CertificateDiagnosis:
    values: dict[str, Any] = {"issuer": issuer(), "now": NOW}
    return CertificateDiagnosis(certificate=this or certificate(), **{**values, **more})


def plan(diagnosis: CertificateDiagnosis, **policy: Any) -> Plan:
    return plan_renewal(TARGET, diagnosis, CertificateExpiryPolicy(**policy))


def kinds(plan: Plan) -> list[str]:
    return [action.kind for action in plan.actions]


def no(kind: str, message: str = "") -> Condition:
    return Condition(type=kind, status="False", message=message)


def yes(kind: str, message: str = "", since: float = 30) -> Condition:
    return Condition(type=kind, status="True", message=message, since=ago(since))


WORKS = Http01Look(
    name="shop.example", addresses=("192.0.2.1",), ingress_addresses=("192.0.2.1",), port_80_answers=True, status=404
)
HTTP = (challenge("HTTP-01", "wrong status code '503'"),)


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.condition", "octollm.CertificateExpiringInSevenDays.r4.6")
@pytest.mark.parametrize(
    ("diagnosis", "cause", "words"),
    [
        (seen(), Cause.NOT_STARTED, "no renewal was begun"),
        (seen(cert_manager=[deployment("cert-manager", available=0)]), Cause.CERT_MANAGER, "not healthy: cert-manager"),
        (seen(issuer=None), Cause.ISSUER, "letsencrypt-prod does not exist"),
        (seen(issuer=issuer(no("Ready", "bad account key"))), Cause.ISSUER, "is not ready"),
        (seen(issuer=issuer(no("Ready", LIMITED))), Cause.RATE_LIMIT, "until 2026-03-04 06:00 UTC"),
        (seen(orders=[order("errored", LIMITED)]), Cause.RATE_LIMIT, "until 2026-03-04 06:00 UTC"),
        (seen(orders=[order("errored", "too many certificates already")]), Cause.RATE_LIMIT, "until 2026-03-08 02:29"),
        (seen(requests=[request(no("Ready", LIMITED))]), Cause.RATE_LIMIT, "until"),
        (
            seen(orders=[order()], challenges=[challenge("DNS-01", 'secret "cf" not found')]),
            Cause.DNS01,
            "refuses the credentials",
        ),
        (
            seen(orders=[order()], challenges=[challenge("DNS-01")], credentials_present=False),
            Cause.DNS01,
            "are missing",
        ),
        (
            seen(orders=[order()], challenges=[challenge("DNS-01", "not yet propagated", presented=True)]),
            Cause.DNS01,
            "does not see it",
        ),
        (seen(orders=[order()], challenges=[challenge("DNS-01", "timeout")]), Cause.DNS01, "could not be set"),
        (seen(orders=[order()], challenges=HTTP), Cause.HTTP01, "cannot fetch the proof"),
        (seen(orders=[order()], challenges=HTTP, http01=replace(WORKS, addresses=())), Cause.HTTP01, "no address"),
        (
            seen(orders=[order()], challenges=HTTP, http01=replace(WORKS, addresses=("192.0.2.9",))),
            Cause.HTTP01,
            "points to 192.0.2.9, not to the ingress",
        ),
        (
            seen(orders=[order()], challenges=HTTP, http01=replace(WORKS, port_80_answers=False)),
            Cause.HTTP01,
            "port 80 of shop.example does not answer",
        ),
        (seen(orders=[order()], challenges=HTTP, http01=replace(WORKS, status=503)), Cause.HTTP01, "with 503"),
        (seen(requests=[request(yes("Denied"))]), Cause.REFUSED, "denied by policy"),
        (seen(requests=[request(yes("Denied"), revision=4)]), Cause.NOT_STARTED, ""),
        (seen(certificate(3 * DAY, no("Ready"), yes("Issuing"))), Cause.AT_WORK, "at this moment"),
        (seen(certificate(failed_attempts=3)), Cause.BACKING_OFF, "3 attempts failed"),
        (
            seen(certificate(failed_attempts=3), orders=[order("invalid")], challenges=HTTP, http01=WORKS),
            Cause.BACKING_OFF,
            "",
        ),
    ],
)
def test_why_no_new_certificate_comes(diagnosis: CertificateDiagnosis, cause: Cause, words: str) -> None:
    why = explain(diagnosis)

    assert why.cause is cause
    assert words in why.words


def test_a_certificate_that_lasts_is_nothing_to_do() -> None:
    assert plan(seen(certificate(30 * DAY))).goal == NOTHING_TO_DO


def test_one_that_lasts_but_is_not_ready_is_looked_into() -> None:
    assert kinds(plan(seen(certificate(30 * DAY, no("Ready"))))) == [RenewCertificate.KIND]


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.r1.7")
@pytest.mark.parametrize("this", [certificate(), certificate(failed_attempts=3), certificate(-DAY)])
def test_with_nothing_in_its_way_this_one_certificate_is_renewed(this: Certificate) -> None:
    (action,) = plan(seen(this)).actions

    arguments = RenewCertificate.from_json(action.arguments)
    assert (arguments.name, arguments.revision, arguments.secret) == ("web-tls", 4, "web-tls")


def test_one_that_lasts_but_is_not_what_is_served_is_proposed_to_be_read_anew() -> None:
    made = plan(seen(NEW, served=[served("cd34", not_after=NOW + timedelta(days=3))]))

    assert made.actions == ()
    assert "web-tls read anew" in made.proposals[0].title


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.r1.7", "octollm.CertificateExpiringInSevenDays.r2.3")
def test_while_the_rate_limit_lasts_nothing_is_asked_and_no_staging_certificate_is_made() -> None:
    made = plan(seen(orders=[order("errored", LIMITED)]))

    assert made.actions == ()
    assert made.refusals[0].lifted_by == "2026-03-04 06:00 UTC"
    assert "staging" in made.refusals[1].reason
    assert made.proposals[0].reason == "It expires before the limit ends."


def test_once_the_rate_limit_is_over_it_is_renewed() -> None:
    past = LIMITED.replace("2026-03-04", "2026-02-28")

    assert kinds(plan(seen(orders=[order("errored", past)]))) == [RenewCertificate.KIND]


def test_nothing_is_renewed_from_a_staging_authority() -> None:
    staging = issuer(server="https://acme-staging-v02.api.letsencrypt.org/directory")

    assert is_staging(staging.acme_server)
    assert plan(seen(issuer=staging)).actions == ()
    assert plan(seen(issuer=staging)).refusals[0].lifted_by == "staging: true, for names that are not in production"


def test_where_the_policy_says_so_a_staging_certificate_is_renewed_each_time_by_approval() -> None:
    staging = issuer(server="https://acme-staging-v02.api.letsencrypt.org/directory")

    (action,) = plan(seen(issuer=staging), staging=True).actions

    assert action.risk is Risk.HIGH
    assert "no client takes" in action.asks


def test_only_the_unhealthy_parts_of_cert_manager_are_restarted() -> None:
    parts = [deployment("cert-manager"), deployment("cert-manager-webhook", available=0)]

    made = plan(seen(cert_manager=parts))

    assert [RolloutRestart.from_json(action.arguments).name for action in made.actions] == ["cert-manager-webhook"]


@pytest.mark.parametrize(
    ("part", "policy", "reason"),
    [
        (deployment("cert-manager", available=0), {"restart_cert_manager": False}, "the policy"),
        (deployment("cert-manager", available=0, replicas=0), {}, "it is scaled to nothing"),
    ],
)
def test_when_cert_manager_is_not_restarted(part: Any, policy: dict[str, Any], reason: str) -> None:
    made = plan(seen(cert_manager=[part]), **policy)

    assert made.actions == ()
    assert reason in made.refusals[0].reason


def test_issuance_that_does_not_end_is_named() -> None:
    made = plan(seen(certificate(DAY, yes("Issuing", since=2000))))

    assert made.actions == ()
    assert "is being issued for 33m 20s" in made.proposals[0].title


def test_findings_show_the_chain_without_markup() -> None:
    diagnosis = seen(orders=[order("<b>")], challenges=[challenge("DNS-01", "`evil` token=abc")])
    found = findings_of(diagnosis, explain(diagnosis))

    assert found[0].title == "web-tls expires in 3d"
    assert found[1].detail == "\\x60evil\\x60 token=…"
    assert found[2].title == "Chain: no request, order \\x3cb\\x3e, 1 open challenge"


def test_findings_show_what_is_around_the_renewal_escaped_and_without_credentials() -> None:
    pods = (pod("nginx-1"), pod("nginx-2", ready=False))
    sync = Event(meta=meta("e"), reason="Sync", message="<i>")
    diagnosis = seen(log=["one", "token=abc `x`"], ingress_pods=pods, ingress_events=[sync], unseen=["the log: no <b>"])
    found = findings_of(diagnosis, explain(diagnosis))[3:]

    assert [(one.title, one.detail) for one in found] == [
        ("cert-manager logged 2 lines about it", "one | token=… \\x60x\\x60"),
        ("Ingress controller: 1 of 2 pods ready", ""),
        ("Ingress event Sync", "\\x3ci\\x3e"),
        ("Not seen: the log: no \\x3cb\\x3e", ""),
    ]


causes = st.fixed_dictionaries(
    {
        "orders": st.sampled_from([(), (order(),), (order("errored", LIMITED),), (order("invalid", "x" * 9000),)]),
        "challenges": st.sampled_from([(), HTTP, (challenge("DNS-01", "403"),)]),
        "issuer": st.sampled_from([None, issuer(), issuer(no("Ready"))]),
        "requests": st.sampled_from([(), (request(yes("Denied")),), (request(no("Ready", LIMITED)),)]),
    }
)


@given(st.sampled_from([certificate(), certificate(-DAY), certificate(DAY, no("Ready"))]), causes)
@settings(max_examples=100)
def test_nothing_is_renewed_while_anything_stands_in_its_way(this: Certificate, more: dict[str, Any]) -> None:
    made = plan(seen(this, **more))

    assert made.actions or made.refusals or made.proposals
    if kinds(made) == [RenewCertificate.KIND]:
        assert explain(seen(this, **more)).cause in (Cause.NOT_STARTED, Cause.BACKING_OFF)
        assert more["issuer"] == issuer()


def served(serial: str = "ab12", **more: Any) -> Served:
    values: dict[str, Any] = {"reached": True, "not_after": NOW + timedelta(days=80), **more}
    return Served(name="shop.example", serial=serial, **values)


NEW = certificate(80 * DAY, revision=5)


@pytest.mark.parametrize(
    ("after", "looks", "healthy", "inconclusive", "words"),
    [
        (NEW, [served()], True, False, "every name in use shows it"),
        (NEW, [], True, False, "no name is known that would show it"),
        (None, [], False, False, "exists no more"),
        (certificate(80 * DAY, no("Ready")), [served()], False, False, "is not ready"),
        (certificate(), [served()], False, False, "has the same end as before"),
        (certificate(4 * DAY), [served()], False, False, "is new, but lasts only 4d"),
        (certificate(-5), [served()], False, False, "is expired"),
        (NEW, [served("cd34")], False, False, "may need a restart"),
        (NEW, [served(not_after=ago(5))], False, False, "shows an expired certificate"),
        (NEW, [served(complaint="Hostname mismatch")], False, False, "refuse: Hostname mismatch"),
        (NEW, [served(reached=False)], False, True, "could not be reached"),
        (NEW, [served(reached=False), served("cd34")], False, False, "may need a restart"),
        (NEW, [served(), served("cd34")], False, False, "may need a restart"),
    ],
)
def test_renewed_means_ready_with_enough_time_and_served(
    after: Certificate | None, looks: list[Served], healthy: bool, inconclusive: bool, words: str
) -> None:
    found = None if after is None else seen(after, served=looks, requests=[replace(request(), issued_serial="ab12")])

    verdict = judge(seen(), found, CertificateExpiryPolicy())

    assert (verdict.healthy, verdict.inconclusive) == (healthy, inconclusive)
    assert words in verdict.reason


def test_a_failed_request_of_the_same_revision_does_not_hide_what_was_issued() -> None:
    requests = [request(), replace(request(), issued_serial="ab12")]

    assert seen(NEW, requests=requests).issued_serial == "ab12"


@pytest.mark.parametrize(("days", "healthy"), [(3, False), (80, True)])
def test_without_its_request_the_end_tells_the_new_one_from_the_old(days: int, healthy: bool) -> None:
    looks = [served("ff", not_after=NOW + timedelta(days=days))]

    assert judge(seen(), seen(NEW, served=looks), CertificateExpiryPolicy()).healthy is healthy


def test_an_attempt_after_a_kill_that_finds_it_renewed_already_is_a_success() -> None:
    renewed = seen(NEW, served=[served()], requests=[replace(request(), issued_serial="ab12")])

    assert judge(renewed, renewed, CertificateExpiryPolicy()).healthy


@pytest.mark.parametrize(
    ("now", "ended"),
    [
        (certificate(), False),
        (NEW, True),
        (certificate(3 * DAY, READY, yes("Issuing"), last_failure_at=ago(5)), False),
        (certificate(3 * DAY, READY, no("Issuing"), last_failure_at=ago(5)), True),
    ],
)
def test_it_is_waited_for_until_it_is_there_or_this_try_has_failed(now: Certificate, ended: bool) -> None:
    assert has_ended(certificate(), now, NOW, CertificateExpiryPolicy()) is ended


@pytest.mark.parametrize(
    ("names", "declared", "expected"),
    [
        (("shop.example", "*.shop.example", "bad name", "x;y"), [], ["shop.example"]),
        (("shop.example",), ["shop.example", "other.example"], ["shop.example"]),
        (("*.shop.example",), ["api.shop.example", "a.b.shop.example"], ["api.shop.example"]),
    ],
)
def test_where_it_is_looked_at(names: tuple[str, ...], declared: list[str], expected: list[str]) -> None:
    policy = CertificateExpiryPolicy.model_validate({"endpoints": [{"server_name": name} for name in declared]})

    found = endpoints_of(certificate(dns_names=names), policy)

    assert [(one.server_name, one.port) for one in found] == [(name, 443) for name in expected]


@pytest.mark.hazard("octollm.CertificateExpiringInSevenDays.r4.7")
def test_a_closed_port_80_is_opened_by_a_person_and_for_the_ingress_only() -> None:
    closed = replace(WORKS, port_80_answers=False)

    made = plan(seen(orders=[order()], challenges=HTTP, http01=closed))

    assert made.actions == ()
    assert any("a firewall rule for port 80 of the ingress only" in proposal.reason for proposal in made.proposals)
