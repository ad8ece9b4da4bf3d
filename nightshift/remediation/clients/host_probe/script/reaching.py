"""What lies between this host and a service elsewhere: its name, a connection, TLS, and one harmless request.

Nothing of an answer is kept but its status: it may hold what is confidential, as the credential of the request is.
"""

import http.client
import socket
import ssl
import time
from typing import Any, Dict, List, Optional

from . import settings
from .wire import Refused, absolute, to_text

_MOST_OF_A_REASON = 200
_TIMEOUTS = (socket.timeout, TimeoutError)
_USUAL_PORTS = {True: 443, False: 80}
_CONTROL = set(map(chr, range(32))) | {"\x7f"}


def reach(request: Dict[str, Any]) -> Dict[str, Any]:
    """How far one gets on the way to a service: ``dns``, ``tcp``, ``tls``, ``http``; an empty stage is all of it."""
    fact: Dict[str, Any] = {"stage": "dns", "why": "", "timed_out": False, "addresses": 0, "status": None}
    fact["retry_after"] = None
    began = time.monotonic()
    link: Optional[socket.socket] = None
    try:
        fact["addresses"] = len(_addresses(request["host"], request["port"]))
        fact["stage"] = "tcp"
        link = socket.create_connection((request["host"], request["port"]), request["timeout"])
        if request["tls"]:
            fact["stage"] = "tls"
            context = ssl.create_default_context(cafile=request.get("trusted_roots"))
            link = context.wrap_socket(link, server_hostname=request["server_name"])
        if request.get("path"):
            fact["stage"] = "http"
            fact.update(_asked(link, request))
        fact["stage"] = ""
    except (OSError, ssl.CertificateError, http.client.HTTPException) as error:
        fact["why"], fact["timed_out"] = _reason(error), isinstance(error, _TIMEOUTS)
    finally:
        if link is not None:
            link.close()
    fact["seconds"] = time.monotonic() - began
    return fact


def _addresses(host: str, port: int) -> List[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _asked(link: socket.socket, request: Dict[str, Any]) -> Dict[str, Any]:
    """The status of one GET; redirects are not followed, so that a credential goes nowhere else."""
    connection = http.client.HTTPConnection(request["server_name"], request["port"])
    connection.sock = link
    connection.request("GET", request["path"], headers=_headers(request))
    answer = connection.getresponse()
    after = (answer.getheader("Retry-After") or "").strip()
    return {"status": answer.status, "retry_after": int(after) if after.isdigit() and len(after) < 8 else None}


def _headers(request: Dict[str, Any]) -> Dict[str, str]:
    host = request["server_name"]
    if request["port"] != _USUAL_PORTS[bool(request["tls"])]:
        host += ":%d" % request["port"]
    headers = {"Host": host, "User-Agent": "nightshift-probe", "Accept": "*/*", "Connection": "close"}
    wanted = request.get("credential")
    if not wanted:
        return headers
    secret = wanted.get("secret")
    if secret is None:
        secret = settings.value_in(absolute(wanted["file"]), wanted["key"])
    if not secret:
        raise Refused("credentials", "%s has no %s" % (wanted.get("file", "the place of it"), wanted.get("key", "key")))
    if _CONTROL & set(secret) or any(ord(character) > 126 for character in secret):
        raise Refused("credentials", "what is kept as the credential is none that a header could hold")
    headers[wanted["header"]] = wanted["prefix"] + secret
    return headers


def _reason(error: Exception) -> str:
    """Its words, without anything that was sent."""
    if isinstance(error, _TIMEOUTS):
        return "no answer in time"
    if isinstance(error, ssl.CertificateError):
        return "its certificate is refused: %s" % to_text(
            str(getattr(error, "verify_message", error)).encode("utf-8", "replace")
        )
    words = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
    return to_text(str(words)[:_MOST_OF_A_REASON].encode("utf-8", "replace"))


def tail_of(request: Dict[str, Any]) -> Dict[str, Any]:
    """The newest lines of a log that hold one of these words; only the end of the file is read."""
    path, most = absolute(request["file"]), request["lines"]
    with settings.opened(path) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - request["bytes"]))
        lines = file.read(request["bytes"]).decode("utf-8", "replace").splitlines()
    if size > request["bytes"]:
        lines = lines[1:]
    words = request["words"]
    found = [line for line in lines if any(word in line for word in words)] if words else lines
    return {"lines": [line[: request["cut"]] for line in found[-most:]] if most else [], "looked_at": len(lines)}
