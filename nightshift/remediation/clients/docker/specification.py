"""A new container like an old one, but of another image.

What the old container only has because its image says so must not be carried over: the new image says it itself. What
Docker added by itself (a host name made of the id, aliases made of it) is left out, too. Anonymous volumes come along,
as they do with Compose: they hold data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_THE_IMAGE = ("Cmd", "Entrypoint", "Healthcheck", "StopSignal", "User", "WorkingDir", "Shell")
_NOT_CREATABLE = ("Hostname", "Domainname", "Env", "ExposedPorts", "Image", "Labels", "Volumes", *_OF_THE_IMAGE)
Specification = dict[str, Any]
"""The body of ``POST /containers/create``."""


def specification(
    old: Mapping[str, Any], old_image: Mapping[str, Any], image: str, labels: Mapping[str, str]
) -> Specification:
    """What to ask the engine for.

    Args:
        old: the container, as inspected.
        old_image: its image, as inspected.
        image: name or id of the image of the new one.
        labels: more labels for it.
    """
    config, ours = old["Config"], old_image.get("Config") or {}
    body: Specification = {key: value for key, value in config.items() if key not in _NOT_CREATABLE and value}
    body |= {key: config[key] for key in _OF_THE_IMAGE if config.get(key) and config.get(key) != ours.get(key)}
    if config.get("Hostname") and not old["Id"].startswith(config["Hostname"]):
        body["Hostname"] = config["Hostname"]
    if config.get("Domainname"):
        body["Domainname"] = config["Domainname"]
    body["Env"] = [one for one in config.get("Env") or () if one not in (ours.get("Env") or ())]
    for many in ("ExposedPorts", "Volumes"):
        body[many] = {k: v for k, v in (config.get(many) or {}).items() if k not in (ours.get(many) or {})}
    inherited = ours.get("Labels") or {}
    body["Labels"] = {k: v for k, v in (config.get("Labels") or {}).items() if inherited.get(k) != v} | dict(labels)
    body["Image"] = image
    body["HostConfig"] = {**old["HostConfig"], "Binds": [*(old["HostConfig"].get("Binds") or ()), *_anonymous(old)]}
    networks = _networks(old)
    if networks:
        first = old["HostConfig"].get("NetworkMode")
        name = first if first in networks else next(iter(networks))
        # Engines before 25 take one network here; the others are joined before the start.
        body["NetworkingConfig"] = {"EndpointsConfig": {name: networks[name]}}
    return body


def more_networks(old: Mapping[str, Any], body: Specification) -> dict[str, Any]:
    """The networks that are joined after the container was made, each with how."""
    made = body.get("NetworkingConfig", {}).get("EndpointsConfig", {})
    return {name: how for name, how in _networks(old).items() if name not in made}


def _anonymous(old: Mapping[str, Any]) -> list[str]:
    """Volumes that only this container names, as binds."""
    host = old["HostConfig"]
    bound = {one.split(":")[1] for one in host.get("Binds") or () if ":" in one}
    bound |= {one.get("Target") for one in host.get("Mounts") or ()}
    return [
        f"{mount['Name']}:{mount['Destination']}{'' if mount.get('RW', True) else ':ro'}"
        for mount in old.get("Mounts") or ()
        if mount["Type"] == "volume" and mount["Destination"] not in bound
    ]


def _networks(old: Mapping[str, Any]) -> dict[str, Any]:
    mode = old["HostConfig"].get("NetworkMode", "")
    if mode in ("none", "host") or mode.startswith("container:"):
        return {}
    found = old["NetworkSettings"].get("Networks") or {}
    return {name: _endpoint(old["Id"], network) for name, network in found.items()}


def _endpoint(identity: str, network: Mapping[str, Any]) -> dict[str, Any]:
    aliases = [alias for alias in network.get("Aliases") or () if not identity.startswith(alias)]
    kept = {key: network[key] for key in ("IPAMConfig", "Links", "DriverOpts") if network.get(key)}
    return {**kept, "Aliases": aliases}
