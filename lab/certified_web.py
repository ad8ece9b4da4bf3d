"""A patient host whose certificate ends tomorrow: nginx serves it, certbot renews it, pebble issues it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lab.acme import PebbleServer
from lab.patient_host import PatientHost
from lab.ports import free_port
from nightshift.remediation.clients import tls
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.certificates import read_lineage
from nightshift.remediation.host_certificates.facts import Certificate, Lineage

_NGINX = """\
pid /run/web.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path /run/web-body; proxy_temp_path /run/web-proxy; fastcgi_temp_path /run/web-fastcgi;
  uwsgi_temp_path /run/web-uwsgi; scgi_temp_path /run/web-scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate /etc/letsencrypt/live/shop/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/shop/privkey.pem;
    location / {{ return 204; }}
  }}
}}
"""
_UNIT = """\
[Service]
Type=forking
PIDFile=/run/web.pid
ExecStart=/usr/sbin/nginx -c /etc/web.conf
ExecReload=/usr/sbin/nginx -c /etc/web.conf -s reload
"""


@dataclass
class Web:
    """A host with a web server whose certificate ends tomorrow, and the CA that would issue the next one."""

    host: PatientHost
    port: int
    old: PebbleServer
    """Issued what is served; its certificates end tomorrow."""
    ca: PebbleServer
    """The CA of the next renewal; its certificates are valid for 90 days."""
    roots: Path

    def served(self) -> Certificate:
        """What whoever connects is shown."""
        return tls.look("127.0.0.1", self.port, "localhost", self.roots).certificate

    def kept(self) -> Lineage:
        """What the host has."""
        with open_host("web1", self.host.connection()) as opened:
            return read_lineage(opened, "shop", config_dir="/etc/letsencrypt", log_dir="/var/log/letsencrypt")

    def renewal(self, *changes: tuple[str, str]) -> None:
        """Change certbot's file about the renewal."""
        path = self.host.path("/etc/letsencrypt/renewal/shop.conf")
        text = path.read_text()
        for old, new in changes:
            if old not in text:
                raise ValueError(f"{path} has no {old!r}")
            text = text.replace(old, new)
        path.write_text(text)

    def certbot(self, *arguments: str, check: bool = True) -> None:
        """Run it on the host."""
        self.host.run("certbot", *arguments, "--non-interactive", check=check)


@contextmanager
def certified_web(roots: Path, filesystems: Mapping[str, int] | None = None) -> Iterator[Web]:
    """The host ``web1`` with its service ``web`` and the lineage ``shop``; ``roots`` gets what clients trust."""
    port = free_port()
    with (
        PatientHost(filesystems or {"/data": 8 * 2**20}, name="web1") as host,
        PebbleServer(timedelta(days=1)) as old,
        PebbleServer(timedelta(days=90), old.http_port) as ca,
    ):
        found = Web(host, port, old, ca, roots)
        _issue(found)
        host.path("/etc/web.conf").write_text(_NGINX.format(port=port))
        host.path("/etc/systemd/system/web.service").write_text(_UNIT)
        host.run("systemctl", "daemon-reload")
        roots.write_bytes(old.roots() + ca.roots())
        yield found


def _issue(web: Web) -> None:
    host, old, ca = web.host, web.old, web.ca
    trusted = host.path("/etc/ssl/certs/ca-certificates.crt")
    trusted.write_bytes(trusted.read_bytes() + old.https_root.read_bytes() + ca.https_root.read_bytes())
    account = ("--register-unsafely-without-email", "--agree-tos")
    web.certbot("register", "--server", ca.directory, *account)
    challenge = ("--standalone", "--http-01-port", str(old.http_port), "--server", old.directory)
    web.certbot("certonly", *challenge, "-d", "localhost", "--cert-name", "shop", *account)
    # From now on the other CA renews it, with the account that was registered there.
    (name,) = host.path(f"/etc/letsencrypt/accounts/localhost:{ca.port}/dir").iterdir()
    text = host.path("/etc/letsencrypt/renewal/shop.conf").read_text()
    (was,) = [line for line in text.splitlines() if line.startswith("account = ")]
    web.renewal((old.directory, ca.directory), (was, f"account = {name.name}"))
