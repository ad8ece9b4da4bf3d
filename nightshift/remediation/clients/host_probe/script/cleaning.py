"""Space that other programs keep and give back on their own command: the journal, package caches, Docker."""

import os
import subprocess
from functools import partial
from typing import Any, Callable, Dict, List

from . import engine, looking, mounts
from .tree import open_directory
from .wire import Clock, Gone, Refused, absolute, to_text

_CLEAN = {"apt": ["apt-get", "clean"]}


def _measured(directory: bytes, look: Callable[[int], int], change: Callable[[], None]) -> Dict[str, Any]:
    """Make a change, and measure what it brought on the filesystem of a directory and by ``look(device)``."""
    try:
        place = open_directory(directory)
    except Gone:
        return {"freed": 0, "measured": 0}
    try:
        mounts.refuse_read_only(place)
        device = os.fstat(place).st_dev
        before, free = look(device), mounts.free_bytes(place)
        change()
        return {"freed": max(0, before - look(device)), "measured": mounts.free_bytes(place) - free}
    finally:
        os.close(place)


def _run(arguments: List[str], seconds: float) -> None:
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise Refused("unsupported", "%s is not installed" % arguments[0]) from None
    if done.returncode:
        raise Refused("failed", "%s said: %s" % (arguments[0], to_text(done.stderr[-500:].strip())))


def vacuum_journal(request: Dict[str, Any]) -> Dict[str, Any]:
    """Let journald's own command remove archived files, oldest first, until ``keep`` bytes are left."""
    directory = absolute(request["directory"])

    def size(device: int) -> int:
        return int((looking.journal(directory, device) or {"allocated": 0})["allocated"])

    def vacuum() -> None:
        # It removes whole files, and the last one may take it below what is to be kept: by that much more stays.
        files = looking.journal_files(directory)
        largest = max([size for is_archived, size in files if is_archived] or [0])
        keep = max(request["keep"], sum(size for _, size in files) - request["max_bytes"] + largest)
        command = ["journalctl", "--directory", os.fsdecode(directory), "--vacuum-size=%d" % keep]
        _run(command, request["seconds"])

    return _measured(directory, size, vacuum)


def clean_package_cache(request: Dict[str, Any]) -> Dict[str, Any]:
    """Let the package manager empty its cache of downloaded packages."""
    if request["manager"] not in _CLEAN:
        raise Refused("unsupported", "%s is not known" % request["manager"])
    directory = absolute(request["directory"])

    def size(device: int) -> int:
        return int((looking.package_cache(device) or {"allocated": 0})["allocated"])

    def clean() -> None:
        if size(os.stat(directory).st_dev) > request["max_bytes"]:
            raise Refused("bound", "the cache grew beyond the approved number of bytes")
        _run(_CLEAN[request["manager"]], request["seconds"])

    return _measured(directory, size, clean)


def prune_docker(request: Dict[str, Any]) -> Dict[str, Any]:
    """Remove listed images that are neither in use nor among the newest of a repository, and old build cache."""
    docker = engine.Engine(request["host"], request["seconds"])
    clock = Clock(request["seconds"])
    items: List[Dict[str, Any]] = []

    def one(what: str, change: Callable[[int], int]) -> None:
        left = request["max_bytes"] - sum(item["freed"] for item in items)
        try:
            if clock.is_over():
                raise Refused("failed", "the time for this action was used up")
            item = {"path": what, "result": "done", "reason": "", "freed": change(left)}
        except Refused as refusal:
            result, reason = ("gone", "") if refusal.kind == "gone" else ("skipped", refusal.reason)
            item = {"path": what, "result": result, "reason": reason, "freed": 0}
        items.append(item)

    def prune() -> None:
        # Taken once: what two listed images share must not count against the bound when the first of them is gone.
        sizes = {image["Id"]: engine.image_fact(image, {})["size"] for image in docker.usage().get("Images") or []}
        for identity in request["images"]:
            one(identity, partial(_remove_image, docker, identity, request["keep_newest"], sizes))
        if request["build_cache_older_than"] is not None:
            one("build cache", lambda left: _remove_build_cache(docker, request["build_cache_older_than"], left))

    answer = _measured(os.fsencode(docker.root()), lambda _: 0, prune)
    return {"items": items, "freed": sum(item["freed"] for item in items), "measured": answer["measured"]}


def _remove_image(docker: engine.Engine, identity: str, keep_newest: int, sizes: Dict[str, int], left: int) -> int:
    images = {image["Id"]: image for image in docker.images()}
    if identity not in images or identity not in sizes:
        raise Refused("gone", "it is gone")
    _refuse_wanted(identity, images, docker.containers_by_image(), keep_newest)
    _refuse_beyond(sizes[identity], left)
    docker.remove_image(identity)
    return sizes[identity]


def _remove_build_cache(docker: engine.Engine, older_than: float, max_bytes: int) -> int:
    _refuse_beyond(engine.old_build_cache(docker.usage(), older_than), max_bytes)
    return docker.prune_build_cache(older_than)


def _refuse_beyond(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise Refused("bound", "the approved number of bytes is reached")


def _refuse_wanted(identity: str, images: Dict[str, Any], used: Dict[str, int], keep_newest: int) -> None:
    if used.get(identity):
        raise Refused("in_use", "a container was made from it")
    for repository in engine.repositories(images[identity]):
        same = [image for image in images.values() if repository in engine.repositories(image)]
        newest = sorted(same, key=lambda image: (-image["Created"], image["Id"]))[:keep_newest]
        if identity in [image["Id"] for image in newest]:
            raise Refused("in_use", "it is among the newest of %s" % (repository or "the images without a tag"))


def docker_left(request: Dict[str, Any]) -> Dict[str, Any]:
    """Which of the listed images are still there, and how much build cache of that age."""
    docker = engine.Engine(request["host"], request["seconds"])
    usage = docker.usage()
    there = {image["Id"] for image in usage.get("Images") or []}
    age = request["build_cache_older_than"]
    old = 0 if age is None else engine.old_build_cache(usage, age)
    return {"images": [identity for identity in request["images"] if identity in there], "build_cache": old}
