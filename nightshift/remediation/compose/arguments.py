"""The arguments of the actions on services of Docker Compose, as the diagnosis saw the world."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.inventory import serves


class OnContainer(ActionArguments):
    """Base: one container, by its id."""

    engine: str
    """Name of the connection."""
    service: str
    container: str
    """Its id."""
    name: str
    wait: float = Field(default=60, ge=1, le=300)
    """Seconds that it may take to become healthy."""


@serves("trading_signals.general: restart", "bybit_strategy_tester.general: restart")
class RestartContainer(OnContainer):
    """Let one container run anew, as it is."""

    KIND: ClassVar[str] = "restart_container"

    started_at: str
    """Of the run that was diagnosed."""


class RecreateContainer(OnContainer):
    """Put a container of another image in the place of one, with everything else as it is."""

    KIND: ClassVar[str] = "recreate_container"

    image: str
    """As the new container asks for it: a tag where there is one, so that people see which."""
    from_image_id: str
    to_image_id: str
    from_image: str = ""
    """As the container asks for it now; for the way back."""


class RollBackContainer(RecreateContainer):
    """The same, to the image from before."""

    KIND: ClassVar[str] = "roll_back_container"


class ScaleService(ActionArguments):
    """Have another number of containers of a service."""

    KIND: ClassVar[str] = "scale_service"

    engine: str
    service: str
    from_replicas: int = Field(ge=1, le=100)
    to_replicas: int = Field(ge=1, le=100)
    template: str
    """Id of the container that the new ones are made like."""
    wait: float = Field(default=60, ge=1, le=300)


class PruneImages(ActionArguments):
    """Remove images by their ids, as long as nothing uses them."""

    KIND: ClassVar[str] = "prune_images"

    engine: str
    images: tuple[str, ...]
