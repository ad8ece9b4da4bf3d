"""A recovery of a cluster, killed at each call that changes something: taken up to its end, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab.cut_short import Cut, CutTrouble, comes_to_a_good_end, killed_and_taken_up
from lab.kept_cluster import MIB, KeptCluster
from lab.waiting import until
from nightshift.remediation.backups.arguments import ProveBackup
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import dumps
from nightshift.remediation.databases.host_cluster import HostCluster, RecoverySource
from nightshift.remediation.databases.recovery import moved_back, recovery
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Action, Target

TARGET = Target.from_key("shop/database/main")
CALLS = ("mkdir", "restore", "rename", "restart")
"""A folder beside the broken one, pgBackRest in it, two renames, the start of the server."""


@pytest.fixture(scope="module")
def label(shop: KeptCluster) -> str:
    """A broken cluster with a backup that was proven."""
    shop.as_kept()
    with open_host("web1", shop.host.connection()) as host:
        return dumps.prove(host, ProveBackup(name="main", rule=shop.rule(), newer_than_ns=0)).path


@pytest.fixture
def recovering(shop: KeptCluster, label: str) -> Action:
    source = RecoverySource(label=label, size=MIB, free=999 * MIB)
    action = recovery(TARGET, HostCluster.model_validate(shop.cluster()), source, "broken.")
    assert isinstance(action, Action)
    return action


def cut_short(shop: KeptCluster, action: Action, label: str, over: Callable[[], object]) -> CutTrouble:
    """The cluster is broken; what is wanted is nothing less than that it is recovered."""
    shop.as_kept()
    smashed = shop.host.path("/pg/cluster/global/pg_control").read_bytes()

    def state() -> str:
        kept = f"cluster.broken-{label}"
        if shop.directories() != ["cluster", kept]:
            return f"{shop.directories()}"
        if shop.host.path(f"/pg/{kept}/global/pg_control").read_bytes() != smashed:
            return "the broken directory was changed"
        if shop.servers() != 1:
            return f"{shop.servers()} servers run"
        return "done" if until(lambda: rows(shop)) == 3000 else f"{shop.rows()} rows"

    return CutTrouble(action, state, over)


def rows(shop: KeptCluster) -> int:
    """None yet while it replays its archive."""
    replays = shop.host.run("pgrep", "-f", "postgres: startup", check=False).returncode == 0
    return 0 if replays else shop.rows()


def pgbackrest_ended(shop: KeptCluster) -> None:
    until(lambda: shop.host.run("pgrep", "-f", "pg1-path=/pg/cluster.restoring", check=False).returncode == 1)


def test_a_recovery_goes_on_wherever_its_run_is_killed(
    shop: KeptCluster, recovering: Action, label: str, ledger: Ledger, database_url: str
) -> None:
    def make() -> CutTrouble:
        return cut_short(shop, recovering, label, lambda: pgbackrest_ended(shop))

    comes_to_a_good_end(ledger, database_url, make, {"web1": shop.connection()}, calls=CALLS)


def test_a_restore_that_was_cut_off_in_the_middle_never_takes_the_place_of_the_cluster(
    shop: KeptCluster, recovering: Action, label: str, ledger: Ledger, database_url: str
) -> None:
    half = shop.host.path(f"/pg/cluster.restoring-{label}")

    def stops_in_the_middle() -> None:
        until((half / "base").is_dir)
        shop.host.run("pkill", "-STOP", "-x", "pgbackrest")

    def loses_power() -> None:
        stopping.join()
        assert not (half / "global/pg_control").exists(), "it has not come to its end"
        shop.host.run("pkill", "-KILL", "-f", "pg1-path=/pg/cluster.restoring")
        pgbackrest_ended(shop)
        assert not [name for name in shop.directories() if ".broken-" in name]

    trouble = cut_short(shop, recovering, label, loses_power)
    stopping = threading.Thread(target=stops_in_the_middle)
    stopping.start()

    cut = Cut(1, during=True, calls=CALLS)
    assert killed_and_taken_up(ledger, database_url, trouble, {"web1": shop.connection()}, cut)


def test_the_way_back_is_gone_to_its_end_and_keeps_both(
    shop: KeptCluster, recovering: Action, label: str, ledger: Ledger, database_url: str
) -> None:
    broken, recovered = f"/pg/cluster.broken-{label}", f"cluster.recovered-{label}"

    def make() -> CutTrouble:
        shop.as_kept()
        smashed = shop.host.path("/pg/cluster/global/pg_control").read_bytes()
        shop.host.run("mv", "/pg/cluster", broken)
        shop.host.run("cp", "-a", broken, "/pg/cluster")
        shop.host.run("touch", "/pg/cluster/recovered")

        def state() -> str:
            there = shop.host.path("/pg/cluster/global/pg_control").read_bytes() == smashed
            kept = shop.host.path(f"/pg/{recovered}/recovered").exists()
            whole = shop.directories() == ["cluster", recovered] and there and kept and not shop.servers()
            return "done" if whole else f"{shop.directories()}"

        return CutTrouble(moved_back(recovering, None), state)

    comes_to_a_good_end(ledger, database_url, make, {"web1": shop.connection()}, calls=("rename",))
