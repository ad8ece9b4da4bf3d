"""No flow without saying how it knows that it helped."""

from __future__ import annotations

import pytest

from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.models import Plan, Target, Value
from nightshift.remediation.report import render_plan
from nightshift.remediation.symptom import flows_with, in_words


def test_a_flow_whose_policy_declares_no_symptom_does_not_register() -> None:
    class Silent(Value):
        watch: float = 1

    with pytest.raises(TypeError, match="the flow restart-at-random does not register: Silent has no method symptom"):
        flows_with({"disk-space-reclaim": DiskSpacePolicy, "restart-at-random": Silent})


def test_the_plan_says_when_it_counts_as_solved() -> None:
    target = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
    symptom = DiskSpacePolicy(watch=300, target_used_percent=70).symptom(target)

    assert in_words(symptom).startswith("at most 70 % of the bytes and 80 % of the inodes of /data in use")
    assert "for 5m on end, measured by the host itself (statvfs)" in in_words(symptom)
    assert symptom.hold == 300
    assert Plan(goal="g", target=target, symptom=symptom).digest == Plan(goal="g", target=target).digest
    assert render_plan(Plan(goal="g", target=target)) == "**Goal:** g"


def test_a_volume_says_who_measures_it() -> None:
    target = Target(system="shop", path=("database", "main", "claim", "pvc"))
    by_kubelet = DatabaseVolumePolicy.model_validate({"volume": "database", "size": {"prometheus": "metrics"}})
    by_server = DatabaseVolumePolicy.model_validate({"volume": "database", "size": {"capacity": "1GiB"}})

    assert by_kubelet.symptom(target).measured_by == "the kubelet, through metrics"
    assert by_kubelet.symptom(target).allowances
    assert "databases" in by_server.symptom(target).measured_by
