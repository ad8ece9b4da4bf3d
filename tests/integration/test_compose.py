"""Services of Docker Compose on a real engine: what is seen, and what each change really does."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab.authority import Authority
from lab.compose_project import ComposeProject
from lab.cut_short import CutTrouble, comes_to_a_good_end
from lab.docker_engine import DockerEngine
from lab.patient_host import PatientHost
from lab.ports import free_port
from lab.waiting import until
from nightshift.remediation.actions import ACTION_KINDS, Connections, Effect, Observation
from nightshift.remediation.clients.docker import changing
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import logs, look_at_service, usage
from nightshift.remediation.clients.docker.specification import specification
from nightshift.remediation.compose import deciding
from nightshift.remediation.compose.arguments import RecreateContainer
from nightshift.remediation.compose.objects import REPLACES_LABEL, Container, ServiceLook
from nightshift.remediation.compose.undoing import image_back, scale_back
from nightshift.remediation.connections import DockerConnection
from nightshift.remediation.errors import CommandFailedError, ConfigurationError, NightshiftError, TargetChangedError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Action, Refusal, Target

TARGET = Target(system="shop", path=("compose", "main", "service", "web"))
SOCKET = "/run/docker.sock"
IDLE = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
TALKS = ("sh", "-c", "echo password=hunter2; echo ready; trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, authority = tmp_path_factory.mktemp("tls"), Authority()
    (folder / "ca.pem").write_bytes(authority.root)
    (folder / "strangers.pem").write_bytes(Authority().root)
    for name in ("localhost", "client"):
        issued = authority.issue(name, 1)
        (folder / f"{name}.pem").write_bytes(issued.chain)
        (folder / f"{name}.key").write_bytes(issued.key)
    return folder


@pytest.fixture(autouse=True)
def _containers_settle_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "SETTLE_SECONDS", 1.0)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def engine(certificates: Path, port: int, patient_host: PatientHost) -> Iterator[DockerEngine]:
    """One engine for all tests here, with a socket on the patient host, too."""
    pair = [f"--tlscert={certificates}/localhost.pem", f"--tlskey={certificates}/localhost.key"]
    listening = ["--host", f"tcp://127.0.0.1:{port}", "--tlsverify", f"--tlscacert={certificates}/ca.pem", *pair]
    listening += ["--host", f"unix://{patient_host.path(SOCKET)}"]
    with DockerEngine(tcp=listening) as running:
        yield running


@pytest.fixture(scope="module")
def images(engine: DockerEngine) -> dict[str, str]:
    """Ids of three releases of ``shop/web``, oldest first, and of one that cannot run."""
    project = ComposeProject(engine, "shop")
    found = {
        str(number): project.image(f"shop/web:{number}", f"ENV RELEASE={number}", "ENV FROM_IMAGE=yes", "VOLUME /data")
        for number in (1, 2, 3)
    }
    return found | {"other": project.image("shop/other:1")}


@pytest.fixture
def shop(engine: DockerEngine, images: dict[str, str]) -> Iterator[ComposeProject]:
    project = ComposeProject(engine, "shop")
    engine.docker("tag", images["2"], "shop/web:live")
    yield project
    project.down()


@pytest.fixture
def connections(shop: ComposeProject) -> Connections:
    return {"main": DockerConnection.model_validate(shop.connection())}


def look(connections: Connections, service: str = "web") -> ServiceLook:
    with open_engine("main", connections) as opened:
        return look_at_service(opened, service)


def only(connections: Connections) -> Container:
    (found,) = look(connections).containers
    return found


def do(action: Action, connections: Connections) -> Effect:
    """As the gate does it."""
    kind = ACTION_KINDS[action.kind]
    assert not kind.permitted(action, connections)  # type: ignore[operator]
    assert kind.observe(action, connections) is Observation.NOT_DONE
    kind.precondition(action, connections)
    effect = kind.act.fn(action, connections)  # type: ignore[attr-defined]
    assert kind.observe(action, connections) is Observation.DONE
    assert isinstance(effect, Effect)
    return effect


def repair(connections: Connections) -> Action:
    return deciding.repair(TARGET, "main", look(connections), only(connections), "it hangs", 20)


@pytest.mark.hazard("bybit_strategy_tester.APIUnresponsive.d4")
def test_what_is_wrong_with_a_container_is_seen(shop: ComposeProject, connections: Connections) -> None:
    ill = ("--health-cmd", "echo no; exit 1", "--health-interval", "200ms", "--health-retries", "1")
    shop.up("web", "shop/web:live", *IDLE, options=ill)
    crashes = ("--restart", "on-failure:2")
    shop.up("web", "shop/web:live", "sh", "-c", "exit 7", number=2, options=crashes)
    hungry = "x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' x); sleep 9"
    shop.up("web", "shop/web:live", "sh", "-c", hungry, number=3, options=("--memory", "8m", "--memory-swap", "8m"))

    def ended() -> tuple[Container, ...]:
        found = sick, crashed, killed = look(connections).containers
        # Between two starts it has ended for a moment, too.
        given_up = crashed.state == "exited" and crashed.restarts == 2
        return found if sick.health == "unhealthy" and given_up and killed.state == "exited" else ()

    sick, crashed, killed = until(ended)
    assert (sick.works, sick.health, sick.health_says.strip()) == (False, "unhealthy", "no")
    assert (crashed.exit_code, crashed.restarts, crashed.oom_killed) == (7, 2, False)
    assert (killed.exit_code, killed.memory_limit) == (137, 8 * 2**20)
    # The engine loses the kernel's notice at times: then it is concluded, and said so.
    assert killed.memory_death.removeprefix("probably ").startswith("killed for memory")


def test_a_death_for_memory_is_concluded_only_where_nobody_asked_the_engine_to_end_it(
    shop: ComposeProject, connections: Connections
) -> None:
    deaf = ("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    limited = ("--memory", "32m")
    shop.up("web", "shop/web:live", *deaf, options=limited)
    shop.up("web", "shop/web:live", *deaf, number=2, options=limited)
    shop.up("web", "shop/web:live", *deaf, number=3, options=limited)
    shop.up("web", "shop/web:live", *deaf, number=4)
    shop.engine.docker("kill", "shop-web-2")
    shop.engine.docker("stop", "--time", "1", "shop-web-3")
    for unasked in ("shop-web-1", "shop-web-4"):
        os.kill(shop.inspect(unasked)["State"]["Pid"], signal.SIGKILL)
        shop.engine.docker("wait", unasked)

    seen = look(connections).containers

    assert [one.exit_code for one in seen] == [137] * 4
    assert [bool(one.memory_death) for one in seen] == [True, False, False, False]
    assert (seen[0].oom_killed, seen[0].memory_death[:8]) == (False, "probably")


@pytest.mark.hazard("trading_signals.general.stats")
def test_logs_are_bounded_and_usage_is_measured(shop: ComposeProject, connections: Connections) -> None:
    flood = "dd if=/dev/zero bs=1k count=300 2>/dev/null | tr '\\0' x; echo; echo last; while :; do sleep 0.1; done"
    container = shop.up("web", "shop/web:live", "sh", "-c", flood, options=("--memory", "64m"))
    until(lambda: shop.engine.docker("logs", "--tail", "1", container) == "last")

    with open_engine("main", connections) as opened:
        log, used = logs(opened, container, lines=50), usage(opened, container)

    assert len(log) <= 64 * 1024
    assert log.endswith("x\nlast\n")
    assert 0 < used.memory < used.memory_limit == 64 * 2**20


def test_a_restart_saves_the_log_without_credentials(shop: ComposeProject, connections: Connections) -> None:
    shop.up("web", "shop/web:live", *TALKS)
    before, action = only(connections), repair(connections)

    effect = do(action, connections)

    after = only(connections)
    assert (after.id, after.works) == (before.id, True)
    assert after.started_at > before.started_at
    assert "ready" in str(effect.evidence["log"])
    assert "hunter2" not in effect.model_dump_json()
    with pytest.raises(TargetChangedError, match="started anew"):
        ACTION_KINDS[action.kind].precondition(action, connections)


def test_where_the_image_name_means_another_image_the_container_is_recreated(
    shop: ComposeProject, connections: Connections, images: dict[str, str]
) -> None:
    mine = ("--env", "MINE=1", "--memory", "32m", "--restart", "unless-stopped")
    shop.up("web", "shop/web:live", *IDLE, options=mine)
    shop.engine.docker("exec", "shop-web-1", "sh", "-c", "echo precious >/data/rows")
    shop.engine.docker("tag", images["3"], "shop/web:live")
    before, action = only(connections), repair(connections)
    assert action.kind == "recreate_container"

    effect = do(action, connections)

    after, found = only(connections), shop.inspect("shop-web-1")
    assert (after.image_id, after.works, after.memory_limit) == (images["3"], True, 32 * 2**20)
    assert shop.names() == ["shop-web-1"]
    assert {"RELEASE=3", "MINE=1"} <= set(found["Config"]["Env"])
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert after.config_hash == before.config_hash
    assert shop.engine.docker("exec", "shop-web-1", "sh", "-c", "cat /data/rows") == "precious"

    do(image_back(action, effect), connections)

    assert only(connections).image_id == images["2"]
    assert "RELEASE=2" in shop.inspect("shop-web-1")["Config"]["Env"]
    assert shop.engine.docker("exec", "shop-web-1", "sh", "-c", "cat /data/rows") == "precious"


def test_a_release_that_does_not_work_leaves_the_old_container_running(
    shop: ComposeProject, connections: Connections, images: dict[str, str]
) -> None:
    only_old = "trap 'exit 0' TERM; case $RELEASE in 2) while :; do sleep 0.1; done;; esac"
    identity = shop.up("web", "shop/web:live", "sh", "-c", only_old)
    shop.engine.docker("tag", images["3"], "shop/web:live")
    action = repair(connections)

    with pytest.raises(CommandFailedError, match="the container from before runs again"):
        do(action, connections)

    assert shop.names() == ["shop-web-1"]
    assert (only(connections).id, only(connections).works) == (identity, True)


def test_a_replacement_that_was_cut_off_is_put_back_and_begun_anew(
    shop: ComposeProject, connections: Connections, images: dict[str, str]
) -> None:
    shop.up("web", "shop/web:live", *IDLE)
    shop.engine.docker("tag", images["3"], "shop/web:live")
    action = repair(connections)
    arguments = RecreateContainer.from_json(action.arguments)
    with open_engine("main", connections) as opened:
        old = opened.api.inspect_container(arguments.container)
        body = specification(old, {}, "shop/web:live", {REPLACES_LABEL: old["Id"]})
        opened.api.create_container_from_config(body, "shop-web-1_new")
        opened.api.stop(old["Id"], timeout=1)
        opened.api.rename(old["Id"], "shop-web-1_before")
        opened.api.rename("shop-web-1_new", "shop-web-1")

        assert changing.observe_recreate(opened, arguments) is Observation.NOT_DONE
    do(action, connections)

    assert shop.names() == ["shop-web-1"]
    assert (only(connections).image_id, only(connections).works) == (images["3"], True)


@pytest.mark.hazard("bybit_strategy_tester.DatabaseDown.r4.2")
def test_a_roll_back_takes_the_newest_image_before_and_pruning_leaves_it(
    shop: ComposeProject, connections: Connections, images: dict[str, str]
) -> None:
    shop.engine.docker("volume", "create", "precious")
    shop.engine.docker("tag", images["3"], "shop/web:live")
    shop.up("web", "shop/web:live", *IDLE)
    seen = look(connections)
    action = deciding.roll_back(TARGET, "main", seen, only(connections), "it fails since the release", 20)
    assert isinstance(action, Action)
    unneeded = deciding.prunable(seen, now=time.time() + 60, older_than=1, keep=1)
    shop.engine.docker("tag", images["1"], "shop/web:keep-me-not")

    do(action, connections)
    pruned = deciding.prune(TARGET, "main", unneeded, "the disk is nearly full")
    effect = do(pruned, connections)

    assert (only(connections).image_id, only(connections).image) == (images["2"], "shop/web:2")
    assert effect.evidence["images"] == [images["1"]]
    left = set(shop.engine.docker("images", "--quiet", "--no-trunc").split())
    assert left == {images["2"], images["3"], images["other"]}
    assert "precious" in shop.engine.docker("volume", "ls", "--quiet").split()
    assert isinstance(deciding.roll_back(TARGET, "main", look(connections), only(connections), "again", 20), Refusal)
    restored = ComposeProject(shop.engine, "shop").image("shop/web:1", "ENV RELEASE=1", "VOLUME /data")
    assert restored


def test_a_service_is_scaled_up_to_its_ceiling_and_back(shop: ComposeProject, connections: Connections) -> None:
    shop.up("web", "shop/web:live", *IDLE)
    action = deciding.scale(TARGET, "main", look(connections), 5, 3, "the queue grows", 20)
    assert isinstance(action, Action)

    do(action, connections)

    assert shop.names() == ["shop-web-1", "shop-web-2", "shop-web-3"]
    assert look(connections).working == 3
    refused = deciding.scale(TARGET, "main", look(connections), 4, 3, "the queue grows", 20)
    assert isinstance(refused, Refusal)
    assert "3 is the ceiling" in refused.reason

    do(scale_back(action, None), connections)

    assert shop.names() == ["shop-web-1"]


def test_containers_of_another_project_are_never_touched(
    shop: ComposeProject, connections: Connections, engine: DockerEngine
) -> None:
    foreign = ComposeProject(engine, "bank")
    identity = foreign.up("web", "shop/other:1", *IDLE)
    try:
        shop.up("web", "shop/web:live", *IDLE)
        action = repair(connections)
        hostile = action.model_copy(update={"arguments": {**action.arguments, "container": identity}})

        with pytest.raises(TargetChangedError, match="no service of shop"):
            ACTION_KINDS[action.kind].precondition(hostile, connections)
        assert [one.name for one in look(connections).containers] == ["shop-web-1"]
    finally:
        foreign.down()


def test_an_engine_is_reached_by_tls_and_over_ssh_and_by_nobody_else(
    shop: ComposeProject, certificates: Path, port: int, patient_host: PatientHost, tmp_path: Path
) -> None:
    shop.up("web", "shop/web:live", *IDLE)
    pair = {"certificate": str(certificates / "client.pem"), "key": str(certificates / "client.key")}
    tls = {"ca": str(certificates / "ca.pem"), **pair}
    over_tcp = shop.connection(url=f"tcp://localhost:{port}")
    entries: dict[str, dict[str, Any]] = {
        "tls": {**over_tcp, "tls": tls},
        "strangers": {**over_tcp, "tls": {**tls, "ca": str(certificates / "strangers.pem")}},
        "no-file": {**over_tcp, "tls": {**tls, "ca": str(tmp_path / "none.pem")}},
        "ssh": shop.connection(host="web1", url=f"unix://{SOCKET}"),
        "no-host": shop.connection(host="web2", url=f"unix://{SOCKET}"),
        "away": shop.connection(url=f"unix://{tmp_path}/none.sock"),
    }
    connections: Connections = {name: DockerConnection.model_validate(entry) for name, entry in entries.items()}
    connections = {**connections, "web1": patient_host.connection()}

    def said(name: str) -> str:
        try:
            with open_engine(name, connections) as opened:
                (found,) = look_at_service(opened, "web").containers
                return found.name
        except NightshiftError as error:
            return f"{type(error).__name__}: {error}"

    assert said("tls") == "shop-web-1"
    assert said("ssh") == "shop-web-1"
    assert "do not trust each other" in said("strangers")
    assert said("no-file").startswith(ConfigurationError.__name__)
    assert said("no-host").startswith(ConfigurationError.__name__)
    assert said("away") == "TargetUnreachableError: The Docker engine away does not answer."


def test_the_doctor_looks_at_the_project(nightshift: Callable[..., Any], runbooks: Path, shop: ComposeProject) -> None:
    shop.up("web", "shop/web:live", *IDLE)
    text = (runbooks / "shop.yaml").read_text()
    entries = f"connections:\n  main: {shop.connection()}\n  empty: {shop.connection() | {'project': 'bank'}}\n"
    (runbooks / "shop.yaml").write_text(text.replace("connections:\n", entries))

    said = nightshift("doctor", "--system", "shop", "--json").out

    assert "answers; 1 service of shop: web." in said
    assert "has no container of the project bank" in said


STARTS = "echo x >>/data/starts; trap 'exit 0' TERM; while :; do sleep 0.1; done"


def starts_of(shop: ComposeProject, name: str = "shop-web-1") -> int:
    """How often the container was started, by its own count."""
    return len(shop.engine.docker("exec", name, "sh", "-c", "cat /data/starts").split())


@pytest.mark.parametrize("during", [False, True])
def test_a_container_is_restarted_once_wherever_the_run_is_killed(
    shop: ComposeProject,
    connections: Connections,
    ledger: Ledger,
    database_url: str,
    during: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changing, "SETTLE_SECONDS", 0.5)

    def make() -> CutTrouble:
        shop.down()
        shop.up("web", "shop/web:live", "sh", "-c", STARTS)
        before = only(connections)

        def state() -> str:
            after = only(connections)
            if (after.id, after.works) != (before.id, True):
                return f"{after}"
            return {1: "as before", 2: "done"}.get(starts_of(shop), "started more than once")

        return CutTrouble(repair(connections), state)

    comes_to_a_good_end(ledger, database_url, make, {"main": shop.connection()}, during=during, late=1)


def test_a_container_is_replaced_once_wherever_the_run_is_killed(
    shop: ComposeProject,
    connections: Connections,
    images: dict[str, str],
    ledger: Ledger,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changing, "SETTLE_SECONDS", 0.5)
    recreated, rolled_back = ACTION_KINDS["recreate_container"], ACTION_KINDS["roll_back_container"]
    assert recreated.act.fn is rolled_back.act.fn  # type: ignore[attr-defined]

    def make() -> CutTrouble:
        shop.down()
        shop.engine.docker("tag", images["2"], "shop/web:live")
        shop.up("web", "shop/web:live", "sh", "-c", STARTS)
        shop.engine.docker("tag", images["3"], "shop/web:live")

        def state() -> str:
            if shop.names() != ["shop-web-1"] or not only(connections).works:
                return f"{shop.names()}, {only(connections)}"
            return {images["3"]: "done", images["2"]: "as before"}.get(only(connections).image_id, "another image")

        return CutTrouble(repair(connections), state)

    comes_to_a_good_end(ledger, database_url, make, {"main": shop.connection()}, late=0.3)


def test_containers_are_added_once_wherever_the_run_is_killed(
    shop: ComposeProject,
    connections: Connections,
    ledger: Ledger,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changing, "SETTLE_SECONDS", 0.5)

    def make() -> CutTrouble:
        shop.down()
        shop.up("web", "shop/web:live", *IDLE)
        action = deciding.scale(TARGET, "main", look(connections), 3, 3, "the queue grows", 20)
        assert isinstance(action, Action)

        def state() -> str:
            found = look(connections).containers
            names = [one.name for one in found]
            if names == ["shop-web-1"]:
                return "as before"
            whole = names == ["shop-web-1", "shop-web-2", "shop-web-3"] and all(one.works for one in found)
            return "done" if whole else f"{[(one.name, one.state) for one in found]}"

        return CutTrouble(action, state)

    comes_to_a_good_end(ledger, database_url, make, {"main": shop.connection()})


def test_images_go_once_and_what_is_needed_stays_wherever_the_run_is_killed(
    shop: ComposeProject, connections: Connections, ledger: Ledger, database_url: str
) -> None:
    """Two unused ones, one of them with a second name; what runs and what a roll-back needs is not on the list."""

    def there() -> set[str]:
        return set(shop.engine.docker("images", "--quiet", "--no-trunc").split())

    shop.up("web", "shop/web:live", *IDLE)
    before = there()

    def make() -> CutTrouble:
        unused = [shop.image(f"shop/web:old{number}", at_once=True) for number in (1, 2)]
        shop.engine.docker("tag", unused[0], "shop/web:old")
        listed = [one for one in look(connections).images if one.id in unused]
        assert len(listed) == 2

        def state() -> str:
            left = there() - before
            whole = before <= there() and only(connections).works
            return ("as before" if left == set(unused) else f"{left}" if left else "done") if whole else f"{there()}"

        return CutTrouble(deciding.prune(TARGET, "main", listed, "the disk is nearly full"), state)

    comes_to_a_good_end(ledger, database_url, make, {"main": shop.connection()})


@pytest.mark.hazard("trading_signals.HighAPILatency.d5")
def test_a_log_is_read_from_both_streams_and_from_a_moment_on(shop: ComposeProject, connections: Connections) -> None:
    waits = "until [ -e /data/go ]; do sleep 0.1; done"
    speaks = f"echo early; {waits}; echo late; echo slow external_api >&2; while :; do sleep 0.1; done"
    container = shop.up("web", "shop/web:live", "sh", "-c", speaks)
    until(lambda: shop.engine.docker("logs", container) == "early")
    since = math.ceil(time.time())
    time.sleep(since - time.time())  # the engine asks for whole seconds
    shop.engine.docker("exec", container, "sh", "-c", ": >/data/go")

    def told() -> list[str]:
        with open_engine("main", connections) as opened:
            return logs(opened, container, since=since).splitlines()

    lines = until(lambda: told() if len(told()) == 2 else [])

    assert sorted(lines) == ["late", "slow external_api"]
