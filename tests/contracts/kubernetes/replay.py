"""Replaying a recorded transcript against the fake, step by step."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from tests.contracts.kubernetes.comparison import Bindings, Comparison, filled_in, shape
from tests.contracts.kubernetes.differences import ALWAYS_MOMENTARY, MOMENTS
from tests.fakes.kubernetes import FakeCluster

Step = dict[str, Any]
_POLL_SECONDS, _POLL_EVERY = 30.0, 0.02
_LIVE_TIMES = 5
_LITERAL_HASH = re.compile(r"replica ?set \\\"[a-z]+-([bcdf-hj-np-tv-z2456789]{8,10})\\\"", re.IGNORECASE)
_COMPARED_HEADERS = ("content-type", "retry-after", "warning")


def _normalised(text: str) -> str:
    """Pod template hashes that the recorder left as they were, in messages of Deployments, become placeholders too."""
    hashes = sorted(set(_LITERAL_HASH.findall(text)))
    for i, literal in enumerate(hashes):
        text = text.replace(f"-{literal}", f"-{{{{hash:{1000 + i}}}}}")
    return text


class Replay:
    """One transcript. ``differing`` says per step what was not as recorded."""

    def __init__(self, cluster: FakeCluster, transcript: Path) -> None:
        self._cluster, self._name = cluster, transcript.stem
        self._document: dict[str, Any] = json.loads(_normalised(transcript.read_text()))
        self._bindings: Bindings = {}
        self._tokens = {"admin": cluster.admin_token, "bad-token": "not-a-real-token"}
        self._compacted = False
        self._live: tuple[Step, list[str], threading.Thread] | None = None
        self.differing: dict[int, str] = {}

    def run(self) -> None:
        """Play every step in its order."""
        with httpx.Client(base_url=self._cluster.url, timeout=30) as client:
            for step in self._document["steps"]:
                if step.get("needs") and not self._compacted:
                    self._compacted = True
                    self._cluster.compact()
                if step.get("during_steps"):
                    self._open(step)
                else:
                    self._play(client, step)
                if self._live is not None and self._live[0]["during_steps"][1] == step["n"]:
                    self._close()

    def _request(self, step: Step) -> httpx.Request:
        asked = filled_in(step["request"], self._bindings)
        headers = {k: v for k, v in asked["headers"].items() if k != "Accept-Encoding"}
        if step["auth"] != "none":
            headers["Authorization"] = f"Bearer {self._tokens[step['auth']]}"
        content: str | None = asked.get("raw_body")
        if content is None and "body" in asked:
            content = json.dumps(asked["body"])
        return httpx.Request(
            asked["method"], self._cluster.url + asked["path"], params=asked["query"], headers=headers, content=content
        )

    def _play(self, client: httpx.Client, step: Step) -> None:
        ends = time.monotonic() + (_POLL_SECONDS if "poll_until" in step else 0)
        # Writes in a row find the controllers where they were, as in the laboratory, where these took a moment.
        if step["request"]["method"] == "GET" or self._live is not None:
            self._cluster.settle()
        else:
            self._cluster.pause()
        while True:
            response = client.send(self._request(step))
            comparison = self._compare(step, response)
            if not self._left(step, comparison) or time.monotonic() > ends:
                break
            time.sleep(_POLL_EVERY)
        self._learn(step, response)
        self._conclude(step, comparison)

    def _left(self, step: Step, comparison: Comparison) -> list[tuple[str, Any, Any]]:
        """The differences that are not known to differ from run to run."""
        unstable = [*step.get("unstable", []), *MOMENTS.get(self._name, {}).get(step["n"], ())]
        if "*" in unstable:
            return []
        unstable += [d[0] for d in comparison.differences if d[0].endswith(ALWAYS_MOMENTARY)]
        return [d for d in comparison.differences if not any(d[0].startswith(path) for path in unstable)]

    def _conclude(self, step: Step, comparison: Comparison) -> None:
        self._bindings = comparison.bindings
        left = self._left(step, comparison)
        if left:
            shown = "; ".join(f"{p}: recorded {str(r)[:200]!r}, got {str(a)[:200]!r}" for p, r, a in left[:4])
            self.differing[step["n"]] = shown

    def _learn(self, step: Step, response: httpx.Response) -> None:
        path = step["request"]["path"]
        if path.endswith("/token") and response.status_code == 201:
            account = path.split("/")[-2]
            token = response.json()["status"]["token"]
            self._tokens[f"sa:{self._document['namespace']}/{account}"] = token

    def _compare(self, step: Step, response: httpx.Response) -> Comparison:
        comparison = Comparison(self._bindings)
        recorded, match = step["response"], step["match"]
        if response.status_code != recorded["status"]:
            if match != "status-any":
                comparison.differences.append(("status", recorded["status"], response.status_code))
            return comparison
        if match in ("status-only", "status-any"):
            return comparison
        for name in _COMPARED_HEADERS:
            if recorded["headers"].get(name) != response.headers.get(name):
                what = (f"header:{name}", recorded["headers"].get(name), response.headers.get(name))
                comparison.differences.append(what)
        if "events" in recorded:
            self._compare_events(step, response.text.splitlines(), comparison)
            return comparison
        body: Any = json.loads(response.text) if response.text[:1] in ("{", "[") else response.text
        if match == "shape":
            comparison.compare(shape(recorded.get("body")), shape(body))
        else:
            comparison.compare(recorded["body"], body)
        return comparison

    def _compare_events(self, step: Step, lines: list[str], comparison: Comparison) -> None:
        recorded = step["response"]["events"]
        events = [json.loads(line) for line in lines if line.strip()]
        if step["match"] != "events-subsequence":
            comparison.compare(recorded, events)
            return
        kinds, expected = sorted({e["type"] for e in events}), sorted({e["type"] for e in recorded})
        if kinds != expected:
            comparison.differences.append(("event types", expected, kinds))
        elif events:
            comparison.compare(recorded[-1], events[-1], "/last")

    def _open(self, step: Step) -> None:
        """A live watch: it is read while the steps it is about are played."""
        lines: list[str] = []
        query = dict(step["request"]["query"])
        # As long as recorded it was open for all that happened; on a busy machine that takes longer.
        query["timeoutSeconds"] = _LIVE_TIMES * int(query["timeoutSeconds"])
        request = self._request({**step, "request": {**step["request"], "query": query}})

        def read() -> None:
            with httpx.Client(timeout=30) as client:
                response = client.send(request, stream=True)
                lines.extend(response.iter_lines())
                response.close()

        thread = threading.Thread(target=read)
        thread.start()
        self._live = (step, lines, thread)

    def _close(self) -> None:
        assert self._live is not None
        step, lines, thread = self._live
        self._live = None
        self._cluster.settle()
        thread.join()
        comparison = Comparison(self._bindings)
        self._compare_events(step, lines, comparison)
        self._conclude(step, comparison)
