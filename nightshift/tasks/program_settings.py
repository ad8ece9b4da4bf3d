"""Look at a setting of a program, read only."""

from __future__ import annotations

from collections.abc import Mapping

from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.settings import read_setting
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.parsing.common import metadata, part
from nightshift.remediation.clients.kubernetes.resources import CONFIG_MAPS
from nightshift.remediation.connections import Connection, KubernetesConnection, LocalConnection, SshConnection
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.program_settings.places import SettingInConfigMap, SettingInFile, SettingPlace
from nightshift.remediation.program_settings.planning import SettingSeen
from nightshift.remediation.text import printable

_LOOK_SECONDS = 30.0


def seen_setting(place: SettingPlace, connections: Mapping[str, Connection]) -> SettingSeen:
    """A setting as it is; one that cannot be read is said so, and then nothing is changed."""
    try:
        return _of_file(place, connections) if isinstance(place, SettingInFile) else _of_map(place, connections)
    except ConfigurationError:
        raise
    except NightshiftError as error:
        return SettingSeen(complaint=printable(str(error), 300))


def _of_file(place: SettingInFile, connections: Mapping[str, Connection]) -> SettingSeen:
    connection = connections.get(place.host)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"There is no host {place.host!r} in the catalogue any more.")
    with open_host(place.host, connection) as host:
        return read_setting(host, place)


def _of_map(place: SettingInConfigMap, connections: Mapping[str, Connection]) -> SettingSeen:
    connection = connections.get(place.cluster)
    if not isinstance(connection, KubernetesConnection):
        raise ConfigurationError(f"There is no cluster {place.cluster!r} in the catalogue any more.")
    with open_cluster(place.cluster, connection, within=_LOOK_SECONDS) as cluster:
        found = cluster.get(CONFIG_MAPS, place.config_map, place.namespace)
    value = part(found, "data").get(place.key)
    return SettingSeen(value=None if value is None else str(value)[:4096], uid=metadata(found).uid)
