"""Whether the account on a host may do what an action needs, asked where it would be done and as who would do it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network

from nightshift.remediation.backups.policy import BackupSet
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.clients.host_probe.disk import MEASURING_SECONDS, path_text
from nightshift.remediation.databases.host_cluster import HostCluster
from nightshift.remediation.disk_space import arguments as disk
from nightshift.remediation.host_certificates.arguments import ReloadService, RenewCertificate
from nightshift.remediation.host_load.arguments import EndProcess
from nightshift.remediation.hosts.arguments import OnHostService
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.inbound_abuse.arguments import OnFirewall
from nightshift.remediation.kubernetes.arguments import RestartNodeService
from nightshift.remediation.privileges import Lack
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.text import printable

Need = tuple[str, str]
"""A sort of permission, as the probe knows it, and what it is about."""

_WORDS: Mapping[str, str] = {
    "remove": "remove files from {why}",
    "directory": "write in {why}",
    "read": "read {why}",
    "write": "write {why}",
    "descriptor": "look into the open files of {why}",
    "program": "run {why}, which is not installed",
    "service": "reload or start {why}",
    "signal": "end {why}",
    "docker": "use Docker ({why})",
    "firewall": "change the packet filter with {why}",
}
_AS_ROOT = "become: sudo in the host's connection, with a NOPASSWD rule in sudoers"
_GRANTS: Mapping[str, str] = {
    "remove": "setfacl -m u:{user}:rwx {why}, or " + _AS_ROOT,
    "directory": "setfacl -m u:{user}:rwx {why}, or " + _AS_ROOT,
    "read": "setfacl -m u:{user}:rX {why}, or " + _AS_ROOT,
    "write": "setfacl -m u:{user}:rw {why}, or " + _AS_ROOT,
    "descriptor": _AS_ROOT,
    "program": "install {subject}",
    "service": _AS_ROOT,
    "firewall": _AS_ROOT + ", and install {subject}",
    "signal": _AS_ROOT,
    "docker": "usermod -aG docker {user}, and see that the engine runs",
}


def lacks(host: Host, needs: Iterable[Need]) -> list[Lack]:
    """What the account may not do of all this.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    answer = ask(host, "look at the permissions", "lacks", seconds=MEASURING_SECONDS, needs=[list(n) for n in needs])
    user = str(answer["user"])
    return [Lack(what=_filled(_WORDS, one, user), grant=_filled(_GRANTS, one, user)) for one in answer["lacks"]]


def _filled(words: Mapping[str, str], lack: Mapping[str, str], user: str) -> str:
    why, subject = printable(lack["why"], 120), printable(lack["subject"], 120)
    return words[lack["need"]].format(why=why, subject=subject, user=printable(user))


def to_delete(arguments: disk.DeleteFiles) -> Iterator[Need]:
    """Deleting files, by rule or by retention."""
    yield from (("remove", file.path) for file in arguments.files)


def to_retain(arguments: disk.ApplyBackupRetention) -> Iterator[Need]:
    """Deleting backups after those that stay were read and proven."""
    yield from to_delete(arguments)
    yield from (("read", file.path) for file in arguments.keep)


def to_archive(arguments: disk.ArchiveFiles) -> Iterator[Need]:
    """Copying files and deleting them."""
    yield from to_delete(arguments)
    yield from (("read", file.path) for file in arguments.files)
    yield "directory", path_text(arguments.to)


def to_cut(arguments: disk.CutLog) -> Iterator[Need]:
    """Cutting a log, perhaps after saving it."""
    yield "write", arguments.file.path
    if arguments.save_to is not None:
        yield "directory", path_text(arguments.save_to)


def to_release(arguments: disk.ReleaseDeletedFile) -> Iterator[Need]:
    """Reaching a deleted file through the process that holds it."""
    yield "descriptor", f"{arguments.pid}/{arguments.descriptor}"


def to_vacuum(arguments: disk.VacuumJournal) -> Iterator[Need]:
    """Removing files of the journal with its own command."""
    yield "program", "journalctl"
    yield "directory", arguments.directory


def to_clean(arguments: disk.CleanPackageCache) -> Iterator[Need]:
    """Emptying a package manager's cache with its own command."""
    yield "program", "apt-get"
    yield "directory", arguments.directory


def to_renew(arguments: RenewCertificate) -> Iterator[Need]:
    """Renewing a certificate with certbot."""
    yield "program", "certbot"
    yield "directory", f"{path_text(arguments.config_dir)}/archive/{arguments.lineage}"


def to_reload(arguments: ReloadService) -> Iterator[Need]:
    """Reloading a service of systemd."""
    yield "service", arguments.unit


def to_restart(arguments: RestartNodeService) -> Iterator[Need]:
    """Restarting a service of systemd."""
    yield "service", f"{arguments.unit}.service"


def to_start(arguments: OnHostService | HostService) -> Iterator[Need]:
    """Starting a service of systemd, or writing into the socket of supervisor."""
    if arguments.manager == "systemd":
        yield "service", arguments.name
    else:
        yield "write", arguments.socket


def to_set(arguments: UpdateSetting) -> Iterator[Need]:
    """Replacing a file of settings, and letting the service that reads it do so."""
    directory = arguments.file.rpartition("/")[0] or "/"
    yield "read", path_text(arguments.file)
    yield "directory", path_text(directory)
    if arguments.service is not None:
        yield from to_start(arguments.service)


def to_end(arguments: EndProcess) -> Iterator[Need]:
    """Ending a process of whatever account."""
    yield "signal", str(arguments.pid)


def to_back_up(rule: BackupSet) -> Iterator[Need]:
    """Writing below the directory of the backups, and running what makes, proves and uploads them."""
    yield "directory", path_text(rule.directory)
    if rule.programs is None:
        yield from (("program", name) for name in ("pg_dump", "pg_restore", "psql"))
    if rule.make.tool == "pgbackrest":
        yield "program", "pgbackrest"
        yield "directory", path_text(rule.make.scratch_directory)
    if rule.upload is not None:
        yield "program", rule.upload.tool


def to_recover(cluster: HostCluster) -> Iterator[Need]:
    """Moving the directory of a cluster, restoring beside it, and stopping and starting its service."""
    yield "program", "pgbackrest"
    yield "directory", path_text(cluster.data_directory.rpartition("/")[0] or "/")
    yield from to_start(cluster.service)


def to_block(arguments: OnFirewall) -> Iterator[Need]:
    """Changing rules of the packet filter, of each IP version that is meant."""
    for version in sorted({ip_network(source).version for source in arguments.sources}):
        yield "firewall", "iptables" if version == 4 else "ip6tables"


def to_prune(arguments: disk.PruneDocker) -> Iterator[Need]:
    """Speaking with the Docker engine."""
    yield "docker", arguments.host
