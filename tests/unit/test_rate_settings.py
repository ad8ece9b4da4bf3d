"""What a ConfigMap says about rates is shown; what may be a secret in it is not."""

from __future__ import annotations

from typing import Any

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.request_surroundings import Surroundings, config_maps_of, rate_settings
from nightshift.remediation.errors import TargetUnreachableError
from nightshift.remediation.kubernetes.objects import Container, Template, Volume
from tests.unit.kubernetes_values import deployment

TEMPLATE = Template(
    digest="t",
    containers=(Container(name="main", env_from=("configmap/web-config", "secret/web-keys")),),
    volumes=(Volume(name="more", kind="configMap", source="limits"),),
)


class OfConfigMaps(Cluster):
    """A cluster that has these ConfigMaps only."""

    def __init__(self, **found: dict[str, str]) -> None:
        self._found = found

    def get(self, resource: Any, name: str, namespace: str = "") -> Any:  # noqa: ARG002 - as of every cluster
        """One of them."""
        if name.replace("-", "_") not in self._found:
            raise TargetUnreachableError
        return {"data": self._found[name.replace("-", "_")]}


def test_numbers_times_and_switches_about_rates_are_shown_and_nothing_else() -> None:
    data = {
        "OPENAI_RATE_LIMIT": "500/m",
        "rate_limit_enabled": "true",
        "RATE_LIMIT_TOKEN": "hunter2-hunter2-hunter2",
        "DB_PASSWORD": "12345",
        "limits.yaml": "password: hunter2",
    }
    seen = Surroundings()

    found = rate_settings(OfConfigMaps(web_config=data), deployment(template=TEMPLATE), seen)

    assert found == ("OPENAI_RATE_LIMIT = 500/m", "rate_limit_enabled = true")
    assert len(seen.unknown) == 1, "the other ConfigMap was not to be had, and that is told"


def test_every_config_map_that_its_pods_take_is_looked_at_and_no_secret() -> None:
    assert config_maps_of(deployment(template=TEMPLATE)) == ("limits", "web-config")
