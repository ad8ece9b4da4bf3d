"""What a provider shows: over real TLS, from the worker and from a host, with the right and with the wrong key."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.measured import until_measured
from lab.ports import free_port
from lab.prometheus import PrometheusProcess
from lab.provider import KEY, Provider
from nightshift.remediation.clients.provider import probe, status_of, try_credential
from nightshift.remediation.clients.provider_metrics import measure
from nightshift.remediation.connections import HttpConnection, LocalConnection
from nightshift.remediation.errors import AuthenticationError
from nightshift.remediation.providers.endpoints import Endpoint, StatusPage
from nightshift.remediation.providers.facts import Failure
from nightshift.remediation.providers.look import Measured
from nightshift.remediation.providers.policy import ProviderFailurePolicy


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as one:
        yield one


def endpoint(provider: Provider, **other: object) -> Endpoint:
    known = {
        "address": "localhost",
        "port": provider.port,
        "path": "/health",
        "trusted_roots": str(provider.roots),
        "timeout": 2,
        "credential": {"secret": {"env": "LAB_PROVIDER_KEY"}},
        "test_path": "/v1/models",
    }
    return Endpoint.model_validate({**known, **other})


@pytest.mark.hazard("test_watcher.DeepSeekAPIDown.d1")
def test_an_answer_of_any_kind_shows_that_the_way_is_free(provider: Provider) -> None:
    provider.answers = 404

    reached = probe(endpoint(provider), {})

    assert (reached.stage, reached.status, reached.place) == ("", 404, "the worker")
    assert reached.addresses >= 1
    assert provider.asked == [("/health", "")], "without a credential"


@pytest.mark.parametrize(
    ("answers", "failure"),
    [(200, None), (401, Failure.CREDENTIALS), (429, Failure.QUOTA), (400, Failure.REQUEST), (503, Failure.SERVER)],
)
def test_a_harmless_request_shows_whether_our_key_counts(
    provider: Provider, answers: int, failure: Failure | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PROVIDER_KEY", KEY)
    provider.answers = answers

    reached = try_credential(endpoint(provider), {})

    assert reached is not None
    assert reached.failure is failure
    assert provider.asked == [("/v1/models", f"Bearer {KEY}")], "asked once"
    assert KEY not in repr(reached)
    assert reached.retry_after == (60 if answers == 429 else None)


def test_a_key_in_the_env_file_of_a_host_is_used_there_and_never_leaves_it(provider: Provider, tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text(f"# keys\nexport DEEPSEEK_API_KEY='{KEY}'\n")
    kept = {"on_host": {"file": str(env), "key": "DEEPSEEK_API_KEY"}}

    # The host trusts its own roots: here the way ends at the certificate.
    asked = endpoint(provider, credential=kept, host="here", trusted_roots=None)
    reached = try_credential(asked, {"here": LocalConnection(type="local")})

    assert reached is not None
    assert (reached.stage, reached.place) == ("tls", "here")
    assert "certificate" in reached.why
    assert provider.asked == [], "nothing is sent to who cannot be told from an impostor"
    assert KEY not in repr(reached)


def test_a_key_that_is_not_there_is_told_without_asking(provider: Provider, tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("OTHER=1\n")
    kept = {"on_host": {"file": str(env), "key": "DEEPSEEK_API_KEY"}}

    with pytest.raises(AuthenticationError, match="DEEPSEEK_API_KEY"):
        try_credential(
            endpoint(provider, credential=kept, host="here", tls=False, port=provider.port),
            {"here": LocalConnection(type="local")},
        )


def test_where_the_way_ends_is_told(provider: Provider) -> None:
    nobody = probe(endpoint(provider, port=free_port()), {})
    unknown = probe(endpoint(provider, address="provider.invalid"), {})
    provider.hangs = 1
    silent = probe(endpoint(provider, timeout=0.3), {})

    assert (nobody.stage, nobody.timed_out) == ("tcp", False)
    assert unknown.stage == "dns"
    assert (silent.stage, silent.timed_out) == ("http", True)
    assert {nobody.failure, unknown.failure, silent.failure} == {Failure.NETWORK}


def test_a_status_page_is_read_and_one_that_cannot_be_read_says_nothing(provider: Provider) -> None:
    page = StatusPage.model_validate({"url": provider.status_page})
    provider.indicator, provider.description = "major", "Partial <b>outage</b>"

    out = status_of(page)
    provider.indicator = "dancing"
    odd = status_of(page)
    away = status_of(StatusPage.model_validate({"url": f"http://127.0.0.1:{free_port()}"}))

    assert out.is_out
    assert "<b>" not in out.description
    assert (odd.indicator, away.indicator) == (None, None)
    assert not odd.is_out
    assert "does not answer" in away.complaint


def measured(prometheus: PrometheusProcess, **calls: object) -> Measured:
    """What a policy with these counters measures, as soon as the server is old enough to tell."""
    declared = {"calls": {"calls": "calls_total", **calls}}
    rules = {"prometheus": "prometheus", "window": "5s", "providers": {"llm": declared}}
    policy = ProviderFailurePolicy.model_validate(rules)
    connection = HttpConnection.model_validate({"type": "http", "url": prometheus.url, "timeout": 1})
    give_up_at = time.monotonic() + 60
    while (found := measure(connection, policy.rule("llm"), policy)).unknown.endswith("ago."):
        assert time.monotonic() < give_up_at
        time.sleep(0.2)
    assert not (found.healthy(policy) and found.trouble(policy))
    assert not (found.unknown and (found.healthy(policy) or found.trouble(policy))), "unknown is neither"
    return found


def known(prometheus: PrometheusProcess) -> Measured:
    """What is measured once Prometheus has looked for long enough."""
    return until_measured(
        lambda: measured(prometheus, calls="idle_total"), lambda found: not found.unknown, "what nobody calls"
    )


def test_what_prometheus_does_not_tell_is_neither_healthy_nor_in_trouble() -> None:
    thousands = "".join(f'many_total{{status="s{number}"}} {number}\n' for number in range(3000))
    odd = 'odd_total{status="success"} NaN\nidle_total{status="success"} 7\nothers_total{result="ok"} 7\n'
    with PrometheusProcess(odd + thousands, every_ms=500) as prometheus:
        known(prometheus)
        assert measured(prometheus, calls="odd_total").unknown
        assert "has no calls_total" in measured(prometheus).unknown, "it is not there, or has other labels"
        assert measured(prometheus, calls="idle_total", labels={"api": "llm"}).unknown
        idle = known(prometheus)
        assert (idle.unknown, idle.failing_percent) == ("", None), "no calls in the window are no good calls"
        assert measured(prometheus, calls="others_total").failing_percent is None
        assert measured(prometheus, calls="many_total").failing_percent is None, "thousands of series are no flood"

        prometheus.kill_target()
        # A dead target is not healthy.
        until_measured(
            lambda: measured(prometheus, calls="idle_total").unknown, bool, "that its target does not answer"
        )
        prometheus.kill()
        assert "did not answer" in measured(prometheus, calls="idle_total").unknown


def test_a_prometheus_that_answers_too_slowly_is_not_waited_for(provider: Provider) -> None:
    provider.hangs = 3
    rules = {"prometheus": "prometheus", "providers": {"llm": {"calls": {"calls": "calls_total"}}}}
    policy = ProviderFailurePolicy.model_validate(rules)
    slow = HttpConnection.model_validate({"type": "http", "url": f"http://127.0.0.1:{provider.port}", "timeout": 0.3})

    began = time.monotonic()
    found = measure(slow, policy.rule("llm"), policy)

    assert "did not answer" in found.unknown
    assert time.monotonic() - began < 2
