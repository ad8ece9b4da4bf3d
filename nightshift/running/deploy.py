"""Deploy the flows, as ``prefect.yaml`` declares them, when anything about them changed.

``prefect deploy`` does the work: it updates deployments in place. What people switched
off on the server stays off.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from nightshift.remediation.errors import PermanentError
from nightshift.running.installation import Installation, code_version
from nightshift.running.prefect_api import PrefectApi
from nightshift.running.prefect_server import client_environment, deploy_command
from nightshift.running.private_files import append_private, write_private
from nightshift.running.processes import tail

_TIMEOUT = 300
"""Seconds for all deployments together."""


class DeploymentFailedError(PermanentError):
    """The flows could not be deployed."""


def default_prefect_file() -> Path:
    """``prefect.yaml`` beside the package: in a checkout the one at its root, else the copy in the wheel."""
    package = Path(__file__).parent.parent
    checkout = package.parent / "prefect.yaml"
    return checkout if checkout.is_file() else package / "_prefect.yaml"


def deploy(installation: Installation, api: PrefectApi, prefect_file: Path) -> bool:
    """Bring the server's deployments to what the file declares; False if they were there already.

    Raises:
        DeploymentFailedError: a deployment was refused; with the last lines of the log.
        PrefectServerError: the server does not answer.
    """
    pool = installation.settings.work_pool
    api.ensure_work_pool(pool)
    remembered = installation.home / "deployed"
    version = _version(prefect_file, api)
    before = api.deployments(pool)
    declared = _declared(prefect_file)
    if remembered.exists() and remembered.read_text() == version and declared <= _keys(before):
        return False
    switched_off = api.switched_off(before)
    log = installation.logs / "deploy.log"
    code = _run_prefect_deploy(installation, api, prefect_file, log)
    after = api.deployments(pool)
    api.switch_off(after, switched_off)  # first of all, even if some deployments failed
    api.remove_former_automations(after)
    if code != 0 or not declared <= _keys(after):
        missing = ", ".join(sorted(entrypoint for _, entrypoint in declared - _keys(after)))
        raise DeploymentFailedError(
            f"The flows could not be deployed (exit code {code}{f', missing: {missing}' if missing else ''}).",
            remedy=f"The log {log} ends with:\n{tail(log)}",
        )
    write_private(remembered, version)
    return True


def _run_prefect_deploy(installation: Installation, api: PrefectApi, prefect_file: Path, log: Path) -> int:
    own = installation.runs_prefect_server
    client = client_environment(installation.prefect_home, api.url, own=own)
    environment = {**os.environ, **installation.environment, **client}
    log.unlink(missing_ok=True)
    with append_private(log) as output:
        done = subprocess.run(
            deploy_command(prefect_file),
            env={name: value for name, value in environment.items() if value is not None},
            cwd=installation.prefect_home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT,
            check=False,
        )
    return done.returncode


def _version(prefect_file: Path, api: PrefectApi) -> str:
    """Another one means: deploy again. Parameters of flows come from the code, so the code counts."""
    return hashlib.sha256(
        b"\0".join([prefect_file.read_bytes(), code_version().encode(), api.url.encode()])
    ).hexdigest()


def _declared(prefect_file: Path) -> set[tuple[str, str]]:
    """Name and entrypoint of each deployment of the file."""
    document = YAML(typ="safe", pure=True).load(prefect_file)
    return {(deployment["name"], deployment["entrypoint"]) for deployment in document["deployments"]}


def _keys(deployments: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {(deployment["name"], deployment["entrypoint"]) for deployment in deployments}
