"""Containers and images of a project of Docker Compose, as the engine's API shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
HASH_LABEL = "com.docker.compose.config-hash"
FOLDER_LABEL, FILES_LABEL = "com.docker.compose.project.working_dir", "com.docker.compose.project.config_files"
"""Where Compose was run when it made a container, and with which files."""
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
    created: float | None = None
    """Seconds since 1970: when Compose made it, of a new image or of a new configuration; a restart leaves it."""
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    started_at: str = ""
    """As the engine writes it: it tells one run of the container from another."""
    exit_code: int | None = None
    """Of the last run that ended; None: it runs."""
    oom_killed: bool = False
    """Whether the engine noted that the kernel killed it for memory."""
    oom_likely: bool = False
    """Whether it ended as if it was, though the engine noted nothing: by SIGKILL, with a limit, unasked."""
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
    def memory_death(self) -> str:
        """``killed for memory``, with a word on how sure that is; empty: nothing speaks for it."""
        if self.oom_killed:
            return "killed for memory"
        return "probably killed for memory (by SIGKILL at its limit, unasked)" if self.oom_likely else ""

    @property
    def and_memory_death(self) -> str:
        """``, killed for memory``: to go on with a sentence."""
        return f", {self.memory_death}" * bool(self.memory_death)

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
    arrived: float | None = None
    """Seconds since 1970: when it last got a name on this host, by a pull or a build; None: not known."""
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

    def newer_configuration(self, one: Container) -> Container | None:
        """A container of the service that Compose made later, from another configuration; None: there is none."""
        found = [
            other
            for other in self.containers
            if other.config_hash and one.config_hash and other.config_hash != one.config_hash
        ]
        later = [other for other in found if (other.created or 0) > (one.created or 0)]
        return max(later, key=lambda other: other.created or 0, default=None)

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
