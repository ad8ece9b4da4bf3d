"""Containers and images of a project of Docker Compose, as the engine's API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
HASH_LABEL = "com.docker.compose.config-hash"
ONE_OFF_LABEL = "com.docker.compose.oneoff"
REPLACES_LABEL = "io.nightshift.replaces"
"""On a container that we made in place of another one: the other one's id."""
ADDED_LABEL = "io.nightshift.added"
"""On a container that we added when we scaled a service."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container of a service (``docker.list_containers``, ``docker.inspect_container``)."""

    id: str
    name: str
    service: str
    number: int
    image: str
    """As it was asked for: ``shop/web:2``, or an id."""
    image_id: str
    state: str
    """``running``, ``exited``, ``restarting``, ``paused``, ``created`` or ``dead``."""
    health: str = ""
    """``healthy``, ``unhealthy`` or ``starting``; empty: it declares no check."""
    health_says: str = ""
    """The newest output of its check; hostile text."""
    started_at: str = ""
    """As the engine writes it: it tells one run of the container from another."""
    exit_code: int | None = None
    """Of the last run that ended; None: it runs."""
    oom_killed: bool = False
    restarts: int = 0
    """How often the engine started it again by itself."""
    config_hash: str = ""
    """Compose's hash of the configuration that it was made from."""
    memory_limit: int = 0
    """Bytes; 0: none."""
    host_ports: tuple[int, ...] = ()
    """Ports of the host that lead to it."""
    command: tuple[str, ...] = field(default=(), repr=False)
    """Program and arguments; may hold a password."""
    volumes: tuple[str, ...] = ()
    """Folders in it that outlive it."""
    replaces: str = ""
    """Id of the container that it took the place of; empty: Nightshift did not make it."""
    added: bool = False
    """Whether Nightshift added it by scaling."""

    @property
    def works(self) -> bool:
        """Whether it runs, and is healthy where it says so."""
        return self.state == "running" and self.health in ("", "healthy")

    @property
    def short_id(self) -> str:
        """As people and ``docker ps`` write it."""
        return self.id[:12]


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image on the host."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    """``repository@sha256:…``: as its registry knows it."""
    created: float = 0.0
    """Seconds since 1970."""
    size: int = 0
    """Bytes, shared layers included."""
    service: str = ""
    """The service that Compose built it for; empty: not known."""
    used: bool = False
    """Whether any container on the host, of whatever project, is made of it."""

    @property
    def repositories(self) -> frozenset[str]:
        """The names it has, without tags and digests."""
        return frozenset(tag.rpartition(":")[0] for tag in self.tags) | {d.partition("@")[0] for d in self.digests}

    @property
    def name(self) -> str:
        """A tag, or else the beginning of the id."""
        return self.tags[0] if self.tags else self.id.removeprefix("sha256:")[:12]


@dataclass(frozen=True, kw_only=True)
class ServiceLook:
    """What was seen of one service at one moment."""

    service: str
    containers: Sequence[Container] = ()
    """By number; those that run once (``compose run``) left out."""
    images: Sequence[Image] = ()
    """Of the repositories of the service, and those Compose built for it; newest first."""
    tagged: str = ""
    """Id of the image that the service's image name means now; empty: there is none of that name any more."""

    @property
    def working(self) -> int:
        """How many containers run and are not ill."""
        return sum(container.works for container in self.containers)

    def image(self, identity: str) -> Image | None:
        """The image with this id, if it is one of the service's."""
        return next((image for image in self.images if image.id == identity), None)

    def previous(self, identity: str) -> Image | None:
        """The newest image of the service that is older than this one; None: there is none on the host."""
        current = self.image(identity)
        if current is None:
            return None
        older = [image for image in self.images if image.id != identity and image.created < current.created]
        return max(older, key=lambda image: image.created, default=None)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a container uses at one moment (``docker.container_stats``)."""

    memory: int
    """Bytes, without the page cache that the kernel would give back."""
    memory_limit: int
    """Bytes; without a limit, those of the host."""
    cpus: float
    """Processors in use, 1.0 = one of them; 0 when the container does not run."""
