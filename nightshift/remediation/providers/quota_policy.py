"""What may be done when a provider refuses calls for their number; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.program_settings.places import AdjustableNumber, FeatureFlag
from nightshift.remediation.providers.policy import Labels, PlainText, ProviderName, declared
from nightshift.remediation.requests.measures import MetricName
from nightshift.remediation.text import printable


class Series(Value):
    """A metric and the labels that its series have."""

    metric: MetricName
    labels: Labels = Field(default={})


class QuotaRule(Value):
    """One provider: how its limits are measured, and what may be set lower."""

    refused: Series
    """A counter of the calls that its rate limit refused."""
    calls: Series | None = None
    """A counter of all calls."""
    used: Series | None = None
    """A gauge: how much of the quota is used, in percent."""
    rates: Annotated[tuple[AdjustableNumber, ...], Field(max_length=3)] = ()
    """Rates and numbers of calls at a time that may be lowered; empty: that is proposed."""
    pause: FeatureFlag | None = None
    """Pauses jobs that can wait, when the quota is used up; null: that is proposed."""
    resets_every: Annotated[Seconds, Field(ge=60, le=31 * 86400)] | None = None
    """The quota is full again so often, counted from 1970-01-01 00:00 UTC (``1d``: at midnight): so long jobs pause.
    null: for ``back_after`` of the flag."""
    support: PlainText = ""
    """Who buys a larger plan, for people."""

    @model_validator(mode="after")
    def _only_lower(self) -> QuotaRule:
        if any(rate.factor >= 1 for rate in self.rates):
            raise ValueError("rates are lowered here: write a factor below 1")
        return self


class QuotaPolicy(Value):
    """Limits of the flow ``outbound-quota-exhaustion``."""

    TARGET: ClassVar[tuple[str, ...]] = ("provider",)
    """Kinds of the target's path, outermost first."""

    prometheus: Annotated[str, ConnectionOf("http")]
    providers: Annotated[dict[ProviderName, QuotaRule], Field(min_length=1, max_length=20)]
    refused_per_second: Annotated[float, Field(gt=0)] = 0.5
    """More refused calls than this are trouble; the alert's own limit."""
    plan_above_percent: Annotated[float, Field(gt=0, le=100)] = 80
    """More of the quota in use than this asks for a larger plan."""
    used_up_percent: Annotated[float, Field(gt=0, le=100)] = 100
    """From here on nothing is left of the quota."""
    opposite: Annotated[tuple[PlainText, ...], Field(max_length=20)] = ()
    """Alerts of this system that ask for more calls or more work at a time. While one of them has an open incident, a
    person decides which of the two counts."""
    window: Annotated[Seconds, Field(ge=5, le=3600)] = 300
    """Refused calls are counted over so long."""
    watch: Annotated[Seconds, Field(ge=1, le=3600)] = 120
    """An alert that fires while few calls are refused is watched for so long, and nothing is done."""
    wait: Annotated[Seconds, Field(ge=5, le=7200)] = 900
    """So long what was done may take to show; at least ``window``."""
    hold: Annotated[Seconds, Field(ge=1, le=7200)] = 600
    """Below the limit for so long on end counts as over."""

    @model_validator(mode="after")
    def _waits_for_its_window(self) -> QuotaPolicy:
        if self.wait < self.window:
            raise ValueError("wait must not be shorter than window, or nothing could ever be seen to help")
        return self

    def rule(self, provider: str) -> QuotaRule:
        """What is declared about a provider.

        Raises:
            ConfigurationError: nothing is.
        """
        return declared(self.providers, provider)

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that it is over."""
        name = printable(target.part("provider"))
        return Symptom(
            what=f"{name} refuses calls for their number",
            solved=f"at most {self.refused_per_second:g} calls a second refused by {name}",
            measured_by=f"its counter over {format_duration(self.window)}, through {printable(self.prometheus)}",
            hold=self.hold,
            allowances=(f"{format_duration(self.wait)} for the lower rate to show",),
        )
