"""Why a claim is not bound, and how it may grow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.actions import Effect
from nightshift.remediation.disk_space.database_diagnosis import DatabaseVolumeDiagnosis, VolumeUsage
from nightshift.remediation.disk_space.database_expansion import growth, with_claim
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.diagnosis import Blindness
from nightshift.remediation.kubernetes.arguments import ExpandClaim
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.claim_diagnosis import ClaimDiagnosis
from nightshift.remediation.kubernetes.claim_planner import (
    NOTHING_TO_DO,
    expand,
    findings_of,
    judge_bound,
    plan_pending_claim,
)
from nightshift.remediation.kubernetes.claim_policy import ClaimExpansion, ClaimPendingPolicy
from nightshift.remediation.kubernetes.claim_replacement import plan_again
from nightshift.remediation.kubernetes.objects import Claim, Condition, Event, PersistentVolume, StorageClass
from nightshift.remediation.kubernetes.recreating import RecreateClaim
from nightshift.remediation.kubernetes.storage_classes import CreateStorageClass, RemoveStorageClass, class_away
from nightshift.remediation.models import Plan, Risk, Target, UndoWhen
from tests.unit.kubernetes_values import NOW, ago, meta, owned_by, pod

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "claim", "data"))
GIB = 2**30
FAST = StorageClass(meta=meta("fast", ""), provisioner="csi.example", allow_expansion=True)
LAZY = StorageClass(meta=meta("lazy", ""), provisioner="csi.example", binding_mode="WaitForFirstConsumer")
DEFAULT = StorageClass(meta=meta("standard", ""), provisioner="csi.example", is_default=True)


def claim(phase: str = "Pending", **more: Any) -> Claim:
    details = meta("data", created_at=ago(more.pop("age", 900)), owners=more.pop("owners", ()))
    values: dict[str, Any] = {"phase": phase, "requested_bytes": 10 * GIB, "storage_class": "fast"}
    return Claim(meta=details, **{**values, **more})


def seen(this: Claim, *classes: StorageClass, **more: Any) -> ClaimDiagnosis:
    return ClaimDiagnosis(claim=this, classes=classes or (FAST, LAZY), now=NOW, **more)


def plan(diagnosis: ClaimDiagnosis) -> Plan:
    return plan_pending_claim(TARGET, diagnosis, ClaimPendingPolicy())


def failed(message: str) -> Event:
    return Event(meta=meta("e"), type="Warning", reason="ProvisioningFailed", message=message)


@pytest.mark.hazard("octollm.PersistentVolumeClaimPending.condition")
@pytest.mark.parametrize("this", [claim("Bound"), claim(storage_class="lazy")])
def test_what_is_bound_or_waits_for_its_first_pod_is_nothing_to_do(this: Claim) -> None:
    made = plan(seen(this))

    assert (made.goal, made.refusals, made.proposals) == (NOTHING_TO_DO, (), ())


VOLUME = PersistentVolume(meta=meta("pv", ""), phase="Available", capacity_bytes=5 * GIB)


@pytest.mark.hazard("octollm.PersistentVolumeClaimPending.r2.2", "octollm.PersistentVolumeClaimPending.r3.3")
@pytest.mark.parametrize(
    ("diagnosis", "title"),
    [
        (seen(claim("Lost", volume="pv-1")), "Restore from a backup: the volume pv-1 exists no more"),
        (
            seen(claim(storage_class="gone")),
            "Create the storage class gone, or make the claim anew with one that exists",
        ),
        (seen(claim(storage_class=None)), "Make one storage class the default, or name one in the claim"),
        (seen(claim(storage_class=None), DEFAULT), "Look at the pods of csi.example"),
        (seen(claim(), events=[failed("exceeded quota")]), "Raise the quota of the storage, or free some"),
        (seen(claim(), events=[failed("rpc error")]), "Look at what the provisioner says"),
        (seen(claim()), "Look at the pods of csi.example"),
        (seen(claim(storage_class=""), volumes=[VOLUME]), "Make a volume that fits, of at least 10.0 GiB"),
        (seen(claim(storage_class="lazy"), consumers=[pod("db-0", node="")]), "Find a node for shop/db-0"),
    ],
)
def test_why_a_claim_waits(diagnosis: ClaimDiagnosis, title: str) -> None:
    made = plan(diagnosis)

    assert made.actions == ()
    assert made.proposals[0].title == title


def test_a_new_claim_is_given_time() -> None:
    assert "being worked on" in plan(seen(claim(age=30))).refusals[0].reason


@pytest.mark.hazard("octollm.PersistentVolumeClaimPending.r3.3")
@pytest.mark.parametrize(
    ("volume", "why"),
    [
        (VOLUME, "pv: only 5.0 GiB"),
        (PersistentVolume(meta=meta("pv", ""), phase="Released", claim="shop/old"), "pv: released by shop/old"),
        (PersistentVolume(meta=meta("pv", ""), phase="Available", storage_class="x"), "pv: of class x"),
    ],
)
def test_why_each_hand_made_volume_does_not_fit(volume: PersistentVolume, why: str) -> None:
    assert plan(seen(claim(storage_class=""), volumes=[volume])).proposals[0].detail == why


def test_findings_show_no_markup_of_strangers() -> None:
    found = findings_of(seen(claim(storage_class="gone"), events=[failed("<b>")]))

    assert found[0].detail == "10.0 GiB of gone, which does not exist"
    assert found[-1].detail == "\\x3cb\\x3e"


def grown(this: Claim, used: int = 9 * GIB, ceiling: int = 100 * GIB, *classes: StorageClass) -> Changes:
    changes = Changes()
    expand(
        TARGET, seen(this, *classes), used, 80, ClaimExpansion(cluster="main", factor=1.25, ceiling=ceiling), changes
    )
    return changes


def test_a_claim_grows_by_the_factor_and_a_person_is_asked() -> None:
    (action,) = grown(claim("Bound")).actions

    arguments = ExpandClaim.from_json(action.arguments)
    assert (arguments.from_bytes, arguments.to_bytes) == (10 * GIB, 13 * GIB)
    assert (action.risk, action.bound.amount) == (Risk.HIGH, 3 * GIB)


def resizing(kind: str) -> tuple[Condition, ...]:
    return (Condition(type=kind, status="True"),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (grown(claim()), "it is not bound"),
        (grown(claim("Bound"), 9 * GIB, 10 * GIB), "it has 10.0 GiB, and the ceiling is 10.0 GiB"),
        (grown(claim("Bound", storage_class="lazy")), "its storage class does not allow it"),
        (grown(claim("Bound", storage_class="gone")), "its storage class does not allow it"),
        (grown(claim("Bound", conditions=resizing("Resizing"))), "being grown already (Resizing)"),
        (grown(claim("Bound", capacity_bytes=5 * GIB)), "10.0 GiB were asked for before, and it has only 5.0 GiB"),
        (grown(claim("Bound", owners=owned_by("Postgresql", "db"))), "Postgresql db owns it"),
    ],
)
def test_when_a_claim_does_not_grow(changes: Changes, reason: str) -> None:
    assert changes.actions == []
    assert reason in changes.refusals[0].reason


@given(st.integers(1, 500), st.integers(0, 800), st.integers(1, 600))
@settings(max_examples=100)
def test_a_claim_never_shrinks_and_never_passes_the_ceiling(present: int, used: int, ceiling: int) -> None:
    for action in grown(claim("Bound", requested_bytes=present * GIB), used * GIB, ceiling * GIB).actions:
        arguments = ExpandClaim.from_json(action.arguments)
        assert present * GIB < arguments.to_bytes <= ceiling * GIB


def test_where_the_class_cannot_grow_a_person_learns_of_those_that_can() -> None:
    (proposal,) = grown(claim("Bound", storage_class="lazy")).proposals

    assert "to a claim of 13Gi whose class can grow" in proposal.title
    assert proposal.detail == "Classes that can grow: fast."


def of_volume(seen_in_cluster: ClaimDiagnosis | None, shown: int = 10 * GIB, **size: Any) -> Changes:
    volume = VolumeUsage(total_bytes=shown, used_bytes=9 * GIB)
    declared = {
        "volume": "database",
        "size": size or {"prometheus": "prometheus"},
        "expand": {"cluster": "main", "ceiling": 100 * GIB},
    }
    target = Target(system="shop", path=("database", "db", "claim", "data"))
    policy = DatabaseVolumePolicy.model_validate(declared)
    return growth(target, DatabaseVolumeDiagnosis(volume=volume), policy, seen_in_cluster)


def test_the_claim_of_a_database_grows_in_its_cluster() -> None:
    (action,) = of_volume(seen(claim("Bound"))).actions

    assert action.target.key == "shop/database/db/claim/data/cluster/main"
    assert ExpandClaim.from_json(action.arguments).to_bytes == 15 * GIB


@pytest.mark.parametrize(
    "changes", [of_volume(None), of_volume(seen(claim("Bound")), capacity=10 * GIB)], ids=["not asked", "declared"]
)
def test_what_nobody_could_see_help_is_proposed(changes: Changes) -> None:
    assert changes.actions == []
    assert changes.proposals[0].title.startswith("Grow the claim data from 10.0 GiB to 15Gi")


def test_a_claim_whose_file_system_lags_behind_is_not_grown_again() -> None:
    changes = of_volume(seen(claim("Bound", requested_bytes=15 * GIB, capacity_bytes=15 * GIB)))

    assert changes.actions == []
    assert "its file system shows only 10.0 GiB" in changes.refusals[0].reason


def test_a_cluster_that_does_not_answer_is_told_and_the_rest_goes_on() -> None:
    diagnosis = DatabaseVolumeDiagnosis(volume=VolumeUsage(total_bytes=GIB, used_bytes=GIB))
    unseen = with_claim(diagnosis, Blindness(what="the claim data in its cluster", why="no answer"))

    assert unseen.claim is None
    assert unseen.blind[0].why == "no answer"


DEFINITION: dict[str, Any] = {
    "labels": {},
    "annotations": {},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
}


def orphan(**more: Any) -> Claim:
    """A claim of a missing class."""
    return claim(**{"storage_class": "gone", "definition": DEFINITION, **more})


def anew(diagnosis: ClaimDiagnosis, instead: str = "fast") -> Plan:
    return plan_pending_claim(TARGET, diagnosis, ClaimPendingPolicy(replace_class={"gone": instead}))


@pytest.mark.hazard("octollm.PersistentVolumeClaimPending.r1.2")
def test_a_claim_that_was_never_bound_is_made_anew_on_a_persons_word() -> None:
    (action,) = anew(seen(orphan())).actions

    arguments = RecreateClaim.from_json(action.arguments)
    assert (arguments.from_class, arguments.to_class, arguments.definition) == ("gone", "fast", DEFINITION)
    assert (action.risk, bool(action.asks), action.items) == (Risk.HIGH, True, (arguments.uid,))


def test_a_claim_that_was_deleted_for_it_is_made_again_under_the_same_approval() -> None:
    (begun,) = anew(seen(orphan())).actions

    (again,) = plan_again(TARGET, begun).actions

    assert again.within(begun)
    assert RecreateClaim.from_json(again.arguments).definition == DEFINITION


KEPT = PersistentVolume(meta=meta("pv", ""), phase="Available", claim="shop/data")
SNAPSHOT = {**DEFINITION, "spec": {**DEFINITION["spec"], "dataSource": {"kind": "VolumeSnapshot", "name": "s"}}}
BY_HAND = StorageClass(meta=meta("fast", ""), provisioner="kubernetes.io/no-provisioner")
WITH_HELM = replace(orphan(), meta=meta("data", created_at=ago(900), annotations={"meta.helm.sh/release-name": "db"}))
WITH_MARK = replace(
    orphan(), meta=meta("data", created_at=ago(900), annotations={"pv.kubernetes.io/bind-completed": "yes"})
)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (anew(seen(orphan(volume="pv-1"))), "it names a volume: only a claim that was never bound"),
        (anew(seen(WITH_MARK)), "it names a volume: only a claim that was never bound"),
        (anew(seen(orphan(phase="Lost"))), "it is lost: only a claim that was never bound"),
        (anew(seen(orphan(), volumes=[KEPT])), "a volume is kept for it"),
        (anew(seen(orphan(owners=owned_by("Postgresql", "db")))), "Postgresql db owns it"),
        (anew(seen(orphan(), stateful_set="db")), "the template of StatefulSet db names the missing class"),
        (anew(seen(orphan(), consumers=[pod("db-0", node="n1")])), "shop/db-0 on a node would keep it"),
        (anew(seen(orphan(definition=SNAPSHOT))), "it asks for dataSource"),
        (anew(seen(orphan(definition={}))), "its definition is not known"),
        (anew(seen(orphan()), "nowhere"), "the class nowhere that the runbook names does not exist either"),
        (anew(seen(orphan(), BY_HAND)), "the class fast makes no volumes by itself"),
        (anew(seen(WITH_HELM)), "Helm release db in shop owns it"),
    ],
)
def test_when_a_claim_is_not_made_anew(made: Plan, reason: str) -> None:
    assert made.actions == ()
    assert made.refusals[0].reason.startswith(reason)


def test_what_an_owner_would_overwrite_is_proposed_there_with_the_difference() -> None:
    assert "- gone\n+ fast" in anew(seen(WITH_HELM)).proposals[0].detail


@pytest.mark.parametrize("this", [claim(), claim("Bound"), orphan(storage_class="other"), orphan(storage_class=None)])
def test_only_a_missing_class_that_the_policy_names_is_replaced(this: Claim) -> None:
    assert anew(seen(this)).actions == ()
    assert anew(seen(this)).refusals == ()


def copied(diagnosis: ClaimDiagnosis) -> Plan:
    return plan_pending_claim(TARGET, diagnosis, ClaimPendingPolicy(copy_class={"gone": "fast"}))


GOOD = replace(FAST, content="0" * 64)


@pytest.mark.hazard("octollm.PersistentVolumeClaimPending.r1.1")
def test_a_missing_class_is_made_as_a_copy_on_a_persons_word() -> None:
    (action,) = copied(seen(orphan(), GOOD)).actions

    arguments = CreateStorageClass.from_json(action.arguments)
    assert (arguments.name, arguments.copied, arguments.uid) == ("gone", "fast", FAST.uid)
    assert (action.risk, bool(action.asks), action.undo_when) == (Risk.MEDIUM, True, UndoWhen.BY_HAND)
    undo = class_away(action, Effect(summary="made", evidence={"uid": "7"}))
    assert RemoveStorageClass.from_json(undo.arguments) == RemoveStorageClass(name="gone", uid="7")


@pytest.mark.parametrize(
    ("classes", "reason"),
    [([LAZY], "the class fast does not exist either"), ([BY_HAND], "the class fast makes no volumes by itself")],
)
def test_what_cannot_be_copied_is_not(classes: list[StorageClass], reason: str) -> None:
    made = copied(seen(orphan(), *classes))

    assert (made.actions, made.refusals[0].reason) == ((), reason)


@pytest.mark.parametrize("this", [claim(), claim("Bound"), orphan(storage_class="other"), orphan(phase="Lost")])
def test_only_a_missing_class_that_the_policy_names_is_made(this: Claim) -> None:
    assert (copied(seen(this, GOOD)).actions, copied(seen(this, GOOD)).refusals) == ((), ())


@pytest.mark.parametrize(
    ("declared", "mistake"),
    [
        ({"copy_class": {"gone": "gone"}}, "gone is its own copy"),
        ({"copy_class": {"gone": "fast"}, "replace_class": {"gone": "lazy"}}, "leave it in one of them"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(declared: dict[str, Any], mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake):
        ClaimPendingPolicy.model_validate(declared)


@pytest.mark.parametrize(
    ("after", "healthy"),
    [(seen(claim("Bound")), True), (seen(claim(storage_class="lazy")), True), (seen(claim()), False), (None, False)],
)
def test_a_new_claim_helps_when_it_is_bound(after: ClaimDiagnosis | None, healthy: bool) -> None:
    assert judge_bound("data", after).healthy is healthy
