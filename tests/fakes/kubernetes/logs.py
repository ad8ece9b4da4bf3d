"""Logs of containers, as a test has put them there."""

from __future__ import annotations

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.lists import integer
from tests.fakes.kubernetes.messages import Answer, truth
from tests.fakes.kubernetes.objects import Obj, name_of

_Place = tuple[str, str, str, bool]


class Logs:
    """Text per container; ``previous`` is that of the run before the last restart."""

    def __init__(self) -> None:
        self._lines: dict[_Place, list[str]] = {}

    def write(self, namespace: str, pod: str, container: str, text: str, *, previous: bool = False) -> None:
        self._lines.setdefault((namespace, pod, container, previous), []).extend(text.splitlines())

    def answer(self, pod: Obj, query: dict[str, str]) -> Answer:
        """Raises: ApiError 400 for a container that is missing in the request or the pod, 422 for bad options."""
        name = name_of(pod)
        tail = integer(query["tailLines"]) if "tailLines" in query else None
        if tail is not None and tail < 0:
            why = "must be greater than or equal to 0"
            raise errors.invalid("PodLogOptions", "", name, [errors.invalid_value("tailLines", str(tail), why)])
        container = self._container(pod, query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            return Answer(204, "")
        previous = truth(query.get("previous"))
        lines = self._lines.get((pod["metadata"]["namespace"], name, container, previous))
        if lines is None and previous:
            raise errors.bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
        self._check_started(pod, container)
        chosen = (lines or []) if tail is None else (lines or [])[len(lines or []) - tail :]
        text = "".join(f"{line}\n" for line in chosen)
        if "limitBytes" in query:
            text = text[: integer(query["limitBytes"])]
        return Answer(200, text, content_type="text/plain")

    def _container(self, pod: Obj, asked: str) -> str:
        names = [c["name"] for c in pod["spec"]["containers"]]
        if asked:
            if asked not in names + [c["name"] for c in pod["spec"].get("initContainers") or []]:
                raise errors.bad_request(f"container {asked} is not valid for pod {name_of(pod)}")
            return asked
        if len(names) > 1:
            choice = " ".join(names)
            raise errors.bad_request(
                f"a container name must be specified for pod {name_of(pod)}, choose one of: [{choice}]"
            )
        return str(names[0])

    def _check_started(self, pod: Obj, container: str) -> None:
        for status in pod["status"].get("containerStatuses") or []:
            waiting = status["state"].get("waiting")
            if status["name"] == container and waiting and not status["restartCount"]:
                why = f'container "{container}" in pod "{name_of(pod)}" is waiting to start: {waiting["reason"]}'
                raise errors.bad_request(why)
