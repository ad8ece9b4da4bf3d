"""Why a pod crashes: the causes of decision tree and document told apart, what it depends on before the pod itself.

Order of belief: the state of its node, then what the kubelet says (container states, events), then what the program
said before it ended. A panic because the database refused the connection is the database's trouble, so that what is
needed is looked for before the panic. Serves octollm.PodCrashLoopBackOff.d2-d5, its six branches, "permission denied",
which has none there, and octollm.scenario.node_failure_with_crashing_pods.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis, last_lines, shown
from nightshift.remediation.kubernetes.objects import Termination
from nightshift.remediation.text import counted, printable


class Cause(StrEnum):
    """Why a pod does not stay up."""

    NODE = "node"
    """Its node is down or sick; the pod is only where it shows."""
    IMAGE = "image"
    """Its image cannot be had."""
    MOUNT = "mount"
    """A volume is not there."""
    CONFIGURATION = "configuration"
    """A ConfigMap, a Secret, a key, an option or the command is missing or wrong."""
    MEMORY = "memory"
    """It was killed at its memory limit."""
    HEAP = "heap"
    """It used up the memory that it allows itself, below its limit."""
    PERMISSION = "permission"
    """It is not allowed something."""
    DEPENDENCY = "dependency"
    """Something it needs does not answer."""
    PANIC = "panic"
    """The program fails by itself."""
    PROBE = "probe"
    """It runs, but its liveness probe fails, so that the kubelet ends it."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The cause, and what shows it; printable."""

    cause: Cause
    words: str
    evidence: tuple[str, ...] = ()
    container: str = ""
    """Its name, not escaped."""


_IMAGE = frozenset(
    (
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    )
)
_OBJECT_MISSING = re.compile(
    r"(?:configmap|secret) \"?[\w./-]{1,300}\"? not found|(?:references non-existent|couldn't find) (?:config )?key",
    re.IGNORECASE,
)
_ROOT = re.compile(r"runAsNonRoot|operation not permitted|permission denied|read-only file system", re.IGNORECASE)
_SAID: tuple[tuple[Cause, re.Pattern[str]], ...] = (
    (
        Cause.DEPENDENCY,
        re.compile(
            r"connection refused|ECONNREFUSED|no such host|Name or service not known|ENOTFOUND|no route to host"
            r"|could not connect to server|i/o timeout|connect(?:ion)? timed? ?out|ETIMEDOUT|EAI_AGAIN"
            r"|getaddrinfo|server selection timeout|connection reset by peer",
            re.IGNORECASE,
        ),
    ),
    (
        Cause.PERMISSION,
        re.compile(
            r"permission denied|EACCES|access denied|is forbidden: User|operation not permitted|EPERM"
            r"|read-only file system|EROFS",
            re.IGNORECASE,
        ),
    ),
    (
        Cause.CONFIGURATION,
        re.compile(
            r"missing (?:required )?(?:environment|env|config|setting|variable|option|key)"
            r"|(?:environment variable|env(?:ironment)? var|setting|option) \S{1,100} "
            r"(?:is )?(?:not set|missing|required)"
            r"|(?:invalid|unknown|malformed|bad|failed to (?:parse|load|read)|error (?:parsing|loading|reading))"
            r" (?:the )?(?:config|configuration|setting|option|flag|yaml|json|toml)"
            r"|yaml: (?:line|unmarshal)|pydantic\S{0,60}ValidationError|unrecognized arguments"
            r"|flag provided but not defined"
            r"|KeyError: ['\"][A-Z][A-Z0-9_]{2,60}['\"]|unknown (?:shorthand )?flag",
            re.IGNORECASE,
        ),
    ),
    (
        Cause.HEAP,
        re.compile(
            r"java\.lang\.OutOfMemoryError|\bMemoryError\b|JavaScript heap out of memory|fatal error: out of memory"
            r"|cannot allocate memory|std::bad_alloc|runtime: out of memory",
            re.IGNORECASE,
        ),
    ),
    (
        Cause.PANIC,
        re.compile(
            r"^panic:|^goroutine \d+|Traceback \(most recent call last\)|thread '.{1,80}' panicked|segmentation fault"
            r"|SIGSEGV|Unhandled(?:Promise)?Rejection|Uncaught \w{0,30}(?:Error|Exception)|^fatal error:"
            r"|Exception in thread|core dumped|assertion failed",
            re.IGNORECASE,
        ),
    ),
)
_NEAR = 12
"""Lines between a refused connection and the panic it causes."""


def explain(diagnosis: CrashDiagnosis) -> Explanation:
    """The cause and its evidence. Pure: the same diagnosis has the same explanation."""
    for look in _LOOKS:
        if (found := look(diagnosis)) is not None:
            return found
    ended = _ended(diagnosis)
    how = f"it ended with code {ended.exit_code}, and nothing says why" if ended is not None else "nothing says why"
    return Explanation(cause=Cause.UNKNOWN, words=how, container=_container(diagnosis))


@serves("octollm.scenario: node_failure_with_crashing_pods")
def _node(diagnosis: CrashDiagnosis) -> Explanation | None:
    node = diagnosis.node
    if node is not None and not node.is_ready:
        words = f"its node {printable(node.name, 80)} is not ready"
        return Explanation(cause=Cause.NODE, words=words, container=_container(diagnosis))
    if diagnosis.pod.reason in ("NodeLost", "NodeShutdown", "Terminated", "NodeAffinity") and diagnosis.pod.node:
        words = f"its node {printable(diagnosis.pod.node, 80)} lost it ({printable(diagnosis.pod.reason, 40)})"
        return Explanation(cause=Cause.NODE, words=words, container=_container(diagnosis))
    if diagnosis.crashing_on_node >= 2 and not diagnosis.crashing_elsewhere:
        words = (
            f"pods of {counted(diagnosis.crashing_on_node, 'other workload')} crash on its node "
            f"{printable(diagnosis.pod.node, 80)}, too, and none of its own elsewhere"
        )
        return Explanation(cause=Cause.NODE, words=words, container=_container(diagnosis))
    return None


def _image(diagnosis: CrashDiagnosis) -> Explanation | None:
    status = diagnosis.failing
    if status is None or status.waiting_reason not in _IMAGE:
        return None
    words = f"its image {printable(status.image, 120)} cannot be had ({status.waiting_reason})"
    return _explained(diagnosis, Cause.IMAGE, words, status.waiting_message)


@serves("octollm.PodCrashLoopBackOff: d9")
def _missing_objects(diagnosis: CrashDiagnosis) -> Explanation | None:
    missing = [f"{r.kind} {printable(r.name, 80)}" for r in diagnosis.references if r.exists is False]
    said = [message for message in _kubelet_said(diagnosis) if _OBJECT_MISSING.search(message)]
    claims = [r for r in diagnosis.references if r.exists is False and r.kind == "claim"]
    if claims:
        words = f"its claim {printable(claims[0].name, 80)} does not exist"
        return _explained(diagnosis, Cause.MOUNT, words, *said)
    if said or (missing and _waits_for(diagnosis, "CreateContainerConfigError", "ContainerCreating")):
        names = ", ".join(missing[:3]) or "something it names"
        return _explained(diagnosis, Cause.CONFIGURATION, f"{names} is missing", *said)
    return None


def _start(diagnosis: CrashDiagnosis) -> Explanation | None:
    """The container could not even be started."""
    status = diagnosis.failing
    reasons = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")
    ended = status.last_termination or status.terminated if status is not None else None
    start_failed = ended is not None and ended.reason in ("StartError", "ContainerCannotRun")
    if status is None or not (status.waiting_reason in reasons or start_failed):
        return None
    said = status.waiting_message or (ended.message if ended is not None else "")
    if _ROOT.search(said[:2000]):
        return _explained(diagnosis, Cause.PERMISSION, "its container is not allowed to start as it is", said)
    return _explained(diagnosis, Cause.CONFIGURATION, "its container cannot be started as it is configured", said)


def _mount(diagnosis: CrashDiagnosis) -> Explanation | None:
    lost = [claim for claim in diagnosis.claims if claim.phase in ("Lost", "Pending")]
    events = [e for e in diagnosis.events if e.reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume")]
    running = any(status.running_since is not None or status.restarts for status in diagnosis.pod.statuses)
    if lost:
        words = f"its claim {printable(lost[0].name, 80)} is {lost[0].phase.lower()}"
        return _explained(diagnosis, Cause.MOUNT, words, *(event.message for event in events))
    if events and not running:
        return _explained(diagnosis, Cause.MOUNT, "a volume cannot be mounted", *(e.message for e in events))
    return None


def _out_of_memory(diagnosis: CrashDiagnosis) -> Explanation | None:
    ended = _ended(diagnosis)
    if ended is None:
        return None
    by_kernel = any(event.reason in ("OOMKilling", "SystemOOM") for event in diagnosis.events)
    if ended.reason == "OOMKilled" or (ended.exit_code == 137 and by_kernel):
        limits = diagnosis.limits
        limit = limits.memory_bytes if limits is not None else None
        at = f" at its limit of {limit:,} bytes" if limit else "; it has no limit of its own, so its node was full"
        return _explained(diagnosis, Cause.MEMORY, f"it was killed for memory{at}")
    return None


def _probe(diagnosis: CrashDiagnosis) -> Explanation | None:
    killed = [e for e in diagnosis.events if e.reason == "Killing" and "liveness probe" in e.message[:500].lower()]
    failed = [e for e in diagnosis.events if e.reason == "Unhealthy" and "liveness probe" in e.message[:500].lower()]
    ended = _ended(diagnosis)
    if not (killed or failed) or (ended is not None and ended.exit_code not in (0, 137, 143)):
        return None
    return _explained(
        diagnosis,
        Cause.PROBE,
        "it is ended because its liveness probe fails",
        *(event.message for event in (*failed, *killed)),
    )


def _said(diagnosis: CrashDiagnosis) -> Explanation | None:
    """What the program said before it ended, of which the newest counts."""
    status, ended = diagnosis.failing, _ended(diagnosis)
    log = diagnosis.logs.get(status.name, "") if status is not None else ""
    lines = (*last_lines(log), *last_lines(ended.message if ended is not None else ""))
    found: dict[Cause, list[int]] = {}
    for cause, pattern in _SAID:
        if hits := [number for number, line in enumerate(lines) if pattern.search(line)]:
            found[cause] = hits
    if not found:
        return None
    cause = _closest(found)
    line = lines[found[cause][-1]]
    words = {
        Cause.DEPENDENCY: "something it needs does not answer",
        Cause.PERMISSION: "it is not allowed what it needs",
        Cause.CONFIGURATION: "its configuration is wrong",
        Cause.HEAP: "it used up the memory that it allows itself",
        Cause.PANIC: "the program fails by itself",
    }[cause]
    return _explained(diagnosis, cause, words, line)


def _closest(found: dict[Cause, list[int]]) -> Cause:
    """What was said last; of what was said close together, what is needed comes before the panic that follows it."""
    newest = max(hits[-1] for hits in found.values())
    panics = found.get(Cause.PANIC, [])
    start = min(newest, min((hit for hit in panics), default=newest))
    near = [cause for cause, _ in _SAID if any(hit >= start - _NEAR for hit in found.get(cause, []))]
    return near[0]


def _unready_dependency(diagnosis: CrashDiagnosis) -> Explanation | None:
    down = [dependency for dependency in diagnosis.dependencies if dependency.ready_endpoints == 0]
    if not down:
        return None
    words = f"nothing answers behind the service {printable(down[0].service, 80)}, which it needs"
    return _explained(diagnosis, Cause.DEPENDENCY, words)


_LOOKS: tuple[Callable[[CrashDiagnosis], Explanation | None], ...] = (
    _node,
    _image,
    _missing_objects,
    _start,
    _mount,
    _out_of_memory,
    _probe,
    _said,
    _unready_dependency,
)


def _explained(diagnosis: CrashDiagnosis, cause: Cause, words: str, *said: str) -> Explanation:
    evidence = tuple(shown(message, 300) for message in said if message)[:3]
    return Explanation(cause=cause, words=words, evidence=evidence, container=_container(diagnosis))


def _container(diagnosis: CrashDiagnosis) -> str:
    return diagnosis.failing.name if diagnosis.failing is not None else ""


def _ended(diagnosis: CrashDiagnosis) -> Termination | None:
    status = diagnosis.failing
    return (status.terminated or status.last_termination) if status is not None else None


def _waits_for(diagnosis: CrashDiagnosis, *reasons: str) -> bool:
    return any(status.waiting_reason in reasons for status in diagnosis.pod.statuses)


def _kubelet_said(diagnosis: CrashDiagnosis) -> Sequence[str]:
    """Messages of waiting containers and warnings about the pod, cut."""
    waiting = [status.waiting_message[:2000] for status in diagnosis.pod.statuses if status.waiting_message]
    return [*waiting, *(event.message[:2000] for event in diagnosis.events if event.type == "Warning")]
