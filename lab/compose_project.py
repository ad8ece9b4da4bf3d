"""A project as Docker Compose would make it: containers with its labels, of images made from the machine's busybox."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from typing import Any

from lab.docker_engine import DockerEngine

_BUSYBOX = "/bin/busybox"


class ComposeProject:
    """Services of one project on an engine; without a network, since the engine has none."""

    def __init__(self, engine: DockerEngine, name: str) -> None:
        self.engine, self.name = engine, name

    def connection(self, **changes: Any) -> dict[str, Any]:
        """As it is written in the catalogue."""
        return {"type": "docker", "project": self.name, "url": self.engine.address, **changes}

    def image(self, tag: str, *instructions: str, content: str = "", at_once: bool = False) -> str:
        """An image with busybox and a file ``/release``; its id.

        Args:
            tag: ``repository:tag``.
            instructions: as in a Dockerfile.
            content: of the file; empty: the tag.
            at_once: it may be as old as the next one; the engine dates images to the second.
        """
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(_BUSYBOX, arcname="bin/sh")
            for folder in ("tmp", "data"):
                found = tarfile.TarInfo(folder)
                found.type, found.mode = tarfile.DIRTYPE, 0o777
                tar.addfile(found)
            release = (content or tag).encode()
            described = tarfile.TarInfo("release")
            described.size = len(release)
            tar.addfile(described, io.BytesIO(release))
        changes = [part for one in instructions for part in ("--change", one)]
        identity = self.engine.docker("import", *changes, "-", tag, given=layer.getvalue())
        if not at_once:
            time.sleep(1.01)
        return identity

    def up(self, service: str, image: str, *command: str, number: int = 1, options: tuple[str, ...] = ()) -> str:
        """One running container of a service; its id."""
        name = f"{self.name}-{service}-{number}"
        configuration = hashlib.sha256(repr((image, command, options)).encode()).hexdigest()
        labels = {
            "com.docker.compose.project": self.name,
            "com.docker.compose.service": service,
            "com.docker.compose.container-number": str(number),
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.config-hash": configuration,
        }
        given = [part for label, value in labels.items() for part in ("--label", f"{label}={value}")]
        network = () if "--network" in options else ("--network", "none")
        return self.engine.docker("run", "--detach", "--name", name, *network, *given, *options, image, *command)

    def inspect(self, container: str) -> Any:
        """What the engine says of a container."""
        return json.loads(self.engine.docker("inspect", container))[0]

    def names(self) -> list[str]:
        """Names of all containers of the project."""
        label = f"label=com.docker.compose.project={self.name}"
        return sorted(self.engine.docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").split())

    def down(self) -> None:
        """Remove its containers."""
        for name in self.names():
            self.engine.docker("rm", "--force", "--volumes", name)
