"""The read-only drain plan of a node with 250 pods in a cluster of 5,000, beside kubectl's; and what a sweep keeps.

    python -m bench.drain

The cluster is the fake API server of the tests, in a process of its own, over HTTP (``bench/crowd.py``). Each figure is
of a process of its own with the real client and planner, which has loaded everything before it counts. The last line is
JSON. Exits with 1 when the plan is not the one that it should be.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench import machine
from bench.crowd import NODE, NODES, PODS_PER_NODE, Crowd, serve
from nightshift.remediation.clients.kubernetes.cluster import PAGE, open_cluster
from nightshift.remediation.clients.kubernetes.node_look import diagnose_node
from nightshift.remediation.clients.kubernetes.resources import PODS
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.arguments import DrainNode
from nightshift.remediation.kubernetes.drain_plan import verdicts_markdown
from nightshift.remediation.kubernetes.node_planner import judge_pods, plan_node_repair
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.models import Target

_ROUNDS = 3
_SWEEPS = (PAGE, 2 * PAGE, 4 * PAGE, NODES * PODS_PER_NODE)
_LONGEST_SECONDS = 120.0
_MIB = 2**20
_LOOK_SECONDS = 0.01
_HEAD_ROWS = 2
"""Of a table in Markdown."""
_WARM_UP = "GET /version"
"""The call of ours before anything counts; kubectl drain has none such."""
_KUBECTL = ("drain", NODE, "--dry-run=server", "--ignore-daemonsets")

Figures = dict[str, Any]


def main() -> int:
    """Measure and tell; the exit code."""
    spawning = multiprocessing.get_context("spawn")
    with _crowd(spawning) as crowd:
        plan = _rounds(crowd, lambda: _apart(spawning, _plan, crowd.kubeconfig))
        _tell("our plan", plan)
        beside = _beside_kubectl(crowd)
        sweeps = {pods: _apart(spawning, _sweep, crowd.kubeconfig, pods) for pods in _SWEEPS}
    for pods, figures in sweeps.items():
        print(f"a sweep over {pods:,} pods: {figures['peak_mib']} MiB more than before it, {figures['seconds']} s")
    result = {
        "pods": NODES * PODS_PER_NODE,
        "pods_of_the_node": PODS_PER_NODE,
        "plan": plan,
        "kubectl": beside,
        "sweep": {str(pods): figures for pods, figures in sweeps.items()},
        "machine": machine.facts(),
    }
    print(json.dumps(result))
    return int(plan["judged"] != PODS_PER_NODE or not plan["evicted"])


@contextmanager
def _crowd(spawning: SpawnContext) -> Iterator[Crowd]:
    """The cluster, for the time of the block."""
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=serve, args=(theirs,), name="fake-kubernetes")
    process.start()
    theirs.close()
    try:
        yield Crowd(ours)
    finally:
        ours.close()
        process.join(_LONGEST_SECONDS)


def _rounds(crowd: Crowd, once: Callable[[], Figures], rounds: int = _ROUNDS) -> Figures:
    """Medians of what varies, and the calls of one round."""
    crowd.calls()
    seen = [once() for _ in range(rounds)]
    calls = {call: number / rounds for call, number in sorted(crowd.calls().items()) if call != _WARM_UP}
    varying = {key: round(median(one[key] for one in seen), 3) for key in ("seconds", "cpu_seconds", "peak_mib")}
    return {**seen[-1], **varying, "calls": round(sum(calls.values())), "calls_by_path": calls}


def _beside_kubectl(crowd: Crowd) -> Figures | None:
    """The same of kubectl; once, since its own pauses between calls make most of it. None: there is none."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        print("kubectl is not on PATH: nothing is compared with it")
        return None
    figures = _rounds(crowd, lambda: _kubectl(kubectl, crowd.kubeconfig), rounds=1)
    _tell("kubectl drain --dry-run=server", figures)
    return figures


def _tell(whose: str, figures: Figures) -> None:
    print(
        f"{whose}: {figures['calls']} calls, {figures['seconds']} s, {figures['cpu_seconds']} s of processor time, "
        f"{figures['peak_mib']} MiB at most, {figures['evicted']} pods to evict"
    )
    for call, number in figures["calls_by_path"].items():
        print(f"    {number:g} times {call}")


def _apart(spawning: SpawnContext, what: Callable[..., Figures], *given: object) -> Figures:
    """What it measures in a process of its own.

    Raises:
        EOFError: it broke down.
    """
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_tell_back, args=(theirs, what, given))
    process.start()
    theirs.close()
    try:
        figures: Figures = ours.recv()
        return figures
    finally:
        process.join(_LONGEST_SECONDS)


def _tell_back(pipe: Connection, what: Callable[..., Figures], given: tuple[object, ...]) -> None:
    pipe.send(what(*given))


def _plan(kubeconfig: Path) -> Figures:
    """The diagnosis, the plan, and the table of all pods that an approver sees."""
    policy, target = NodeNotReadyPolicy(), Target(system="crowd", path=("cluster", "main", "node", NODE))
    with _measured(kubeconfig) as figures, open_cluster("main", _connection(kubeconfig)) as cluster:
        diagnosis = diagnose_node(cluster, NODE)
        plan = plan_node_repair(target, diagnosis, policy)
        judged = judge_pods(diagnosis, policy)
        table = verdicts_markdown(judged)
    figures["judged"] = table.count("\n| ") - _HEAD_ROWS
    figures["evicted"] = sum(len(action.items) for action in plan.actions if action.kind == DrainNode.KIND)
    return figures


def _sweep(kubeconfig: Path, pods: int) -> Figures:
    """Look at so many pods, one after the other, and keep none."""
    with _measured(kubeconfig) as figures, open_cluster("main", _connection(kubeconfig)) as cluster:
        figures["unready"] = sum(not pod.is_ready for pod in islice(cluster.list(PODS), pods))
    return figures | {"pages": -(-pods // PAGE)}


def _connection(kubeconfig: Path) -> KubernetesConnection:
    return KubernetesConnection(type="kubernetes", context="admin", kubeconfig=kubeconfig, namespace="default")


@contextmanager
def _measured(kubeconfig: Path) -> Iterator[Figures]:
    """Seconds, processor time, and how much more memory the block took at its peak than was there before."""
    with open_cluster("main", _connection(kubeconfig)) as cluster:
        cluster.version()  # everything is loaded now
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    figures: Figures = {}
    before, began, used = _resident("self", "VmRSS"), time.perf_counter(), time.process_time()
    yield figures
    figures["seconds"] = round(time.perf_counter() - began, 3)
    figures["cpu_seconds"] = round(time.process_time() - used, 3)
    figures["peak_mib"] = round((_resident("self", "VmHWM") - before) / _MIB, 1)
    figures["whole_process_mib"] = round(_resident("self", "VmHWM") / _MIB, 1)


def _resident(pid: int | str, which: str) -> int:
    """Bytes, as the kernel counts them."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    return 0


def _kubectl(kubectl: str, kubeconfig: Path) -> Figures:
    """One dry drain; processor time and memory are of the whole program, since a person starts it each time.

    Raises:
        RuntimeError: it failed.
    """
    began, used = time.perf_counter(), os.times()
    command = [kubectl, "--kubeconfig", str(kubeconfig), *_KUBECTL]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory(prefix="nightshift-kubectl-") as home:
        where = {**os.environ, "HOME": home}  # what it keeps of the server's kinds stays apart from ours
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=where
        ) as process:
            peak = _peak_of(process)
        seconds, now = time.perf_counter() - began, os.times()
        said.seek(0)
        output = said.read()
    if process.returncode:
        raise RuntimeError(f"kubectl failed: {output.decode(errors='replace')[-500:]}")
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(now.children_user + now.children_system - used.children_user - used.children_system, 3),
        "peak_mib": round(peak / _MIB, 1),
        "evicted": output.count(b"evicting pod"),
    }


def _peak_of(process: subprocess.Popen[bytes]) -> int:
    """The largest sum of what it and its children have resident, looked at until it ends."""
    peak, root = 0, psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, sum(one.memory_info().rss for one in (root, *root.children(recursive=True))))
        except psutil.Error:
            continue  # one of them ended meanwhile
        time.sleep(_LOOK_SECONDS)
    return peak


if __name__ == "__main__":
    sys.exit(main())
