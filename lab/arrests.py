"""Flow runs that stand still at injection points, one each; see :mod:`nightshift.remediation.faults`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Standing:
    """A process that stands at a point."""

    point: str
    pid: int
    flow_run: str = ""
    """Id of the flow run that it is, where it is one."""


@dataclass(frozen=True)
class Arrests:
    """The folder in which points are armed."""

    folder: Path

    @contextmanager
    def everybody(self, point: str) -> Iterator[None]:
        """Whoever comes to this point meanwhile stands there, also afterwards."""
        armed = self.folder / f"{point}.all"
        armed.write_text("HOLD")
        try:
            yield
        finally:
            armed.unlink()

    def at(self, point: str) -> list[Standing]:
        """Who stands there."""
        found = [
            Standing(point, int(held.name.split(".")[1]), held.read_text())
            for held in self.folder.glob(f"{point}.*.held")
        ]
        return [standing for standing in found if standing.flow_run]  # empty while it is being written

    def move(self, standing: Standing, point: str) -> Standing:
        """Let it go on to another point, where it will stand next."""
        if point == standing.point:
            return standing
        (self.folder / f"{point}.{standing.pid}").write_text("HOLD")
        self.release(standing)
        return replace(standing, point=point)

    def has_come(self, standing: Standing) -> bool:
        """Whether it stands where it was sent."""
        return self._held(standing).exists()

    def release(self, standing: Standing) -> None:
        """Let it go on."""
        self._held(standing).unlink(missing_ok=True)

    def _held(self, standing: Standing) -> Path:
        return self.folder / f"{standing.point}.{standing.pid}.held"
