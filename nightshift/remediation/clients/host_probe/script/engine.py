"""The Docker engine, by its own HTTP interface on a unix socket: exact numbers, and no client program needed."""

import calendar
import http.client
import json
import os
import socket
import time
from typing import Any, Dict, List
from urllib.parse import quote

from .wire import Clock, Refused, to_text


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """An engine at ``unix:///path/of/docker.sock``, for so many seconds in all."""

    def __init__(self, address: str, timeout: float) -> None:
        if not address.startswith("unix:///"):
            raise Refused("unsupported", "only engines on a unix socket of the host are looked at")
        self._path = address[len("unix://") :]
        self._clock = Clock(timeout)

    def call(self, method: str, path: str) -> Any:
        """The answer's JSON; refused with the engine's own words on an error."""
        if self._clock.is_over():
            raise Refused("failed", "the Docker engine takes too long to answer")
        connection = _Connection(self._path, self._clock.left())
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            words = getattr(error, "strerror", None) or error or type(error).__name__
            raise Refused("failed", "the Docker engine does not answer: %s" % words) from None
        finally:
            connection.close()
        return _answer(response.status, body)

    def root(self) -> str:
        """Its data directory."""
        return str(self.call("GET", "/info")["DockerRootDir"])

    def containers_by_image(self) -> Dict[str, int]:
        """How many containers, running or not, were made from each image id."""
        used: Dict[str, int] = {}
        for container in self.call("GET", "/containers/json?all=1"):
            used[container["ImageID"]] = used.get(container["ImageID"], 0) + 1
        return used

    def usage(self) -> Any:
        """Images with their shared sizes, and build cache records."""
        return self.call("GET", "/system/df?type=image&type=build-cache")

    def images(self) -> Any:
        """All images with tags, or without."""
        return self.call("GET", "/images/json")

    def remove_image(self, identity: str) -> Any:
        """Remove an image without force: the engine itself refuses one in use."""
        return self.call("DELETE", "/images/" + quote(identity, safe=":"))

    def prune_build_cache(self, older_than: float) -> int:
        """Remove build cache unused for so many seconds; the bytes it says it freed."""
        filters = quote(json.dumps({"until": ["%ds" % older_than]}))
        return int(self.call("POST", "/build/prune?filters=" + filters).get("SpaceReclaimed") or 0)


def _answer(status: int, body: bytes) -> Any:
    if status == 404:
        raise Refused("gone", "the Docker engine does not know it")
    if status >= 400:
        kind = "in_use" if status == 409 else "failed"
        raise Refused(kind, "the Docker engine answered %d: %s" % (status, to_text(body[:500].strip())))
    try:
        return json.loads(body.decode("utf-8"))
    except ValueError:
        raise Refused("failed", "the Docker engine answered something that is no JSON") from None


def repositories(image: Dict[str, Any]) -> List[str]:
    """Every repository the image has a tag in; the empty one for an image without tags."""
    tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
    return sorted({tag.rpartition(":")[0] for tag in tags}) or [""]


def image_fact(image: Dict[str, Any], containers: Dict[str, int]) -> Dict[str, Any]:
    """An image as ``DockerImageFact``."""
    tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
    return {
        "id": image["Id"],
        "repository": tags[0].rpartition(":")[0] if tags else "",
        "tags": tags,
        "created": image["Created"],
        "size": image["Size"] - max(0, image.get("SharedSize", 0)),
        "containers": containers.get(image["Id"], 0),
    }


def _build_cache(usage: Dict[str, Any]) -> List[Dict[str, Any]]:
    # The engine removes shared records only when told to remove all.
    return [record for record in usage.get("BuildCache") or [] if not record.get("Shared")]


def old_build_cache(usage: Dict[str, Any], older_than: float) -> int:
    """Bytes of build cache that nobody used for so many seconds."""
    limit = time.time() - older_than
    return sum(r["Size"] for r in _build_cache(usage) if not r.get("InUse") and _last_used(r) < limit)


def _last_used(record: Dict[str, Any]) -> float:
    moment = record.get("LastUsedAt") or record["CreatedAt"]
    return float(calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")))


def fact(address: str, build_cache_older_than: float, device: int, timeout: float) -> Any:
    """The engine as ``DockerFact``; None when its data lies on another filesystem."""
    engine = Engine(address, timeout)
    root = engine.root()
    if os.stat(root).st_dev != device:
        return None
    containers, usage = engine.containers_by_image(), engine.usage()
    stopped = engine.call("GET", "/containers/json?all=1&filters=" + quote('{"status":["exited","created","dead"]}'))
    volumes = engine.call("GET", "/volumes?filters=" + quote('{"dangling":["true"]}'))
    return {
        "root": to_text(os.fsencode(root)),
        "images": [image_fact(image, containers) for image in usage.get("Images") or []],
        "build_cache_bytes": sum(record["Size"] for record in _build_cache(usage)),
        "build_cache_old_bytes": old_build_cache(usage, build_cache_older_than),
        "stopped_containers": len(stopped),
        "unused_volumes": len(volumes.get("Volumes") or []),
    }
