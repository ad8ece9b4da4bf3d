"""A real Docker engine gives back what nobody needs, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.docker_engine import DockerEngine
from lab.loop_filesystem import LoopFilesystem
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.disk import diagnose_disk_space
from nightshift.remediation.clients.host_probe.disk_changes import FreedSpace, observe_docker, prune_docker
from nightshift.remediation.disk_space.arguments import PruneDocker
from nightshift.remediation.disk_space.diagnosis import DockerFact
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.errors import CommandFailedError

MIB = 1024 * 1024
PLENTY = 1 << 40


@pytest.fixture(scope="module")
def engine_disk() -> Iterator[LoopFilesystem]:
    with LoopFilesystem(size=128 * MIB) as filesystem:
        yield filesystem


@pytest.fixture(scope="module")
def engine(engine_disk: LoopFilesystem) -> Iterator[DockerEngine]:
    with DockerEngine(engine_disk.mount / "docker") as running:
        yield running


@pytest.fixture
def versions(engine: DockerEngine) -> Iterator[list[str]]:
    """Ids of four versions of ``shop/web``, oldest first, of 2 MiB each."""
    now = time.time()
    yield [engine.make_image(f"shop/web:{version}", 2 * MIB, created=now - 10 + version) for version in range(1, 5)]
    for identity in engine.docker("images", "--quiet", "--no-trunc").split():
        engine.docker("rmi", "--force", identity)


def policy(address: str) -> DiskSpacePolicy:
    docker = {"host": address, "images_older_than": 0, "build_cache_older_than": 0}
    return DiskSpacePolicy.model_validate({"docker": docker})


def seen(host: Host, engine: DockerEngine, disk: LoopFilesystem) -> DockerFact | None:
    return diagnose_disk_space(host, str(disk.mount), policy(engine.address), interval=0).docker


def reasons(freed: FreedSpace) -> dict[str, str]:
    return {item.item: item.reason for item in freed.items if item.result == "skipped"}


def test_images_are_seen_with_their_sizes_and_containers(
    host: Host, engine: DockerEngine, engine_disk: LoopFilesystem, versions: list[str]
) -> None:
    engine.docker("tag", "shop/web:1", "shop/base:1")
    container = engine.docker("create", "shop/web:2", "/content")
    engine.docker("volume", "create", "precious")
    try:
        fact = seen(host, engine, engine_disk)
    finally:
        engine.docker("rm", container)
        engine.docker("volume", "rm", "precious")

    assert fact is not None
    assert fact.root == str(engine.data_root)
    assert {image.id for image in fact.images} == set(versions)
    first, second = (next(image for image in fact.images if image.id == identity) for identity in versions[:2])
    assert sorted(first.tags) == ["shop/base:1", "shop/web:1"]
    assert (second.repository, second.size, second.containers) == ("shop/web", 2 * MIB, 1)
    assert (fact.stopped_containers, fact.unused_volumes) == (1, 1)


def test_an_old_unused_image_goes_and_its_bytes_are_free(
    host: Host, engine: DockerEngine, engine_disk: LoopFilesystem, versions: list[str]
) -> None:
    arguments = PruneDocker(host=engine.address, images=(versions[0],))
    before = engine_disk.used()
    assert observe_docker(host, arguments) is Observation.NOT_DONE

    freed = prune_docker(host, arguments, max_bytes=PLENTY)

    assert freed.items[0].result == "done"
    assert before - engine_disk.used() >= 2 * MIB
    assert freed.measured_bytes >= 2 * MIB
    assert versions[0] not in engine.docker("images", "--quiet", "--no-trunc").split()
    assert observe_docker(host, arguments) is Observation.DONE
    assert prune_docker(host, arguments, max_bytes=PLENTY).items[0].result == "gone"


@pytest.mark.hazard(
    "test_watcher.HighDiskUsage.r1.3",
    "bybit_strategy_tester.DiskSpaceCritical.r1.4",
    "bybit_strategy_tester.DiskSpaceCritical.r2.1",
    "bybit_strategy_tester.DatabaseDown.r4.2",
)
def test_the_newest_of_a_repository_and_images_of_containers_stay(
    host: Host, engine: DockerEngine, versions: list[str]
) -> None:
    container = engine.docker("create", "shop/web:1", "/content")
    volume = engine.docker("volume", "create", "precious")
    try:
        arguments = PruneDocker(host=engine.address, images=tuple(versions), keep_newest=2)
        freed = prune_docker(host, arguments, max_bytes=PLENTY)

        assert reasons(freed) == {
            versions[0]: "a container was made from it",
            versions[2]: "it is among the newest of shop/web",
            versions[3]: "it is among the newest of shop/web",
        }
        assert engine.docker("ps", "--all", "--quiet", "--no-trunc") == container
        assert engine.docker("volume", "ls", "--quiet") == volume
        left = set(engine.docker("images", "--quiet", "--no-trunc").split())
        assert left == {versions[0], versions[2], versions[3]}
    finally:
        engine.docker("rm", container)
        engine.docker("volume", "rm", volume)


def test_an_image_that_is_the_newest_of_another_repository_stays(
    host: Host, engine: DockerEngine, versions: list[str]
) -> None:
    engine.docker("tag", "shop/web:1", "shop/rollback:1")

    freed = prune_docker(host, PruneDocker(host=engine.address, images=(versions[0],)), max_bytes=PLENTY)

    assert reasons(freed) == {versions[0]: "it is among the newest of shop/rollback"}


def test_no_more_than_approved_is_removed(host: Host, engine: DockerEngine, versions: list[str]) -> None:
    arguments = PruneDocker(host=engine.address, images=tuple(versions[:2]), keep_newest=1)

    freed = prune_docker(host, arguments, max_bytes=3 * MIB)

    assert [item.result for item in freed.items] == ["done", "skipped"]
    assert freed.freed_bytes == 2 * MIB


def test_an_engine_with_its_images_elsewhere_is_none_of_this_filesystems_business(
    host: Host, engine: DockerEngine, disk: LoopFilesystem
) -> None:
    assert seen(host, engine, disk) is None


def test_an_engine_that_does_not_answer_is_a_blindness_for_looking_and_an_error_for_acting(
    host: Host, disk: LoopFilesystem
) -> None:
    silent = "unix:///run/no-such-engine.sock"

    (blind,) = [
        blind
        for blind in diagnose_disk_space(host, str(disk.mount), policy(silent), interval=0).blind
        if "Docker" in blind.what
    ]

    assert "does not answer" in blind.why
    with pytest.raises(CommandFailedError, match="does not answer"):
        prune_docker(host, PruneDocker(host=silent, images=("sha256:1",)), max_bytes=PLENTY)


def test_build_cache_is_pruned_by_age(host: Host, engine: DockerEngine) -> None:
    arguments = PruneDocker(host=engine.address, build_cache_older_than=0)

    freed = prune_docker(host, arguments, max_bytes=PLENTY)

    assert [(item.item, item.result, item.freed_bytes) for item in freed.items] == [("build cache", "done", 0)]
    assert observe_docker(host, arguments) is Observation.DONE
