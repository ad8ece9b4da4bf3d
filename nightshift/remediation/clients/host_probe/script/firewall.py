"""The packet filter of this host: blocks of ours, each with an end that the kernel keeps, and nothing of others.

Every rule of ours carries a comment and a date at which it stops to match. One that has ended is inert, and is removed
when the next one is made. Rules of others are read, never changed.
"""

import calendar
import ipaddress
import json
import os
import time
from typing import Any, Dict, List, Optional

from .commands import Account, complaint
from .wire import Clock, Refused

_CHAINS = ("DOCKER-USER", "INPUT")
_OURS = "nightshift-block"
_FORM = "%Y-%m-%dT%H:%M:%S"
_FILTERS = {4: "iptables", 6: "ip6tables"}


def firewall(request: Dict[str, Any]) -> Dict[str, Any]:
    """How this host lies in its network, who is logged in, and what we block on a chain."""
    chain, clock, account = _chain(request), Clock(request["seconds"]), Account(None)
    versions = [version for version in _FILTERS if _passes(version, chain, account, clock)]
    rules = [rule for version in versions for rule in _rules(version, chain, account, clock)]
    blocks = [{key: rule[key] for key in ("source", "port", "left")} for rule in rules if rule["left"] > 0]
    return {
        "networks": _networks(account, clock),
        "gateways": _gateways(account, clock),
        "ssh_clients": _ssh_clients(),
        "versions": versions,
        "blocks": blocks,
    }


def block_sources(request: Dict[str, Any]) -> Dict[str, Any]:
    """Drop what these networks send to these ports until a date; what is blocked already keeps its own."""
    chain, clock, account = _chain(request), Clock(request["seconds"]), Account(None)
    sources, ports = _sources(request), _ports(request)
    versions = sorted({source.version for source in sources})
    rules = {version: _rules(version, chain, account, clock) for version in versions}
    for version in versions:
        if not _passes(version, chain, account, clock):
            raise Refused("changed", "packets of IPv%d do not pass %s any more" % (version, chain))
    active = {rule["source"] for many in rules.values() for rule in many if rule["left"] > 0}
    if len(active | {str(source) for source in sources}) > request["most"]:
        raise Refused("bound", "more than %d addresses would be blocked at one time" % request["most"])
    for version in versions:
        for rule in rules[version]:
            if rule["left"] <= 0:
                _iptables(version, ["-D", chain, *rule["words"]], account, clock)
    made = 0
    until = time.strftime(_FORM, time.gmtime(time.time() + request["block_seconds"]))
    for source in sources:
        there = {rule["port"] for rule in rules[source.version] if rule["source"] == str(source) and rule["left"] > 0}
        for port in ports:
            if port not in there:
                _iptables(source.version, ["-I", chain, "1", *_words(source, port, until)], account, clock)
                made += 1
    return {"made": made, "until": until}


def unblock_sources(request: Dict[str, Any]) -> Dict[str, Any]:
    """Remove rules of ours for these networks and ports."""
    chain, clock, account = _chain(request), Clock(request["seconds"]), Account(None)
    sources, ports, removed = _sources(request), _ports(request), 0
    names = {str(source) for source in sources}
    for version in sorted({source.version for source in sources}):
        for rule in _rules(version, chain, account, clock):
            if rule["source"] in names and rule["port"] in ports:
                _iptables(version, ["-D", chain, *rule["words"]], account, clock)
                removed += 1
    return {"removed": removed}


def _words(source: Any, port: int, until: str) -> List[str]:
    """One rule. The port is the one that the client asked for, whatever Docker makes of it on the way."""
    match = ["-s", str(source), "-p", "tcp", "-m", "conntrack", "--ctorigdstport", str(port)]
    ends = ["-m", "time", "--datestop", until]
    return [*match, *ends, "-m", "comment", "--comment", _OURS, "-j", "DROP"]


def _rules(version: int, chain: str, account: Account, clock: Clock) -> List[Dict[str, Any]]:
    """Our rules of a chain, with the seconds that each has left; none where there is no such chain."""
    ended = account.run([_FILTERS[version], "-w", "5", "-S", chain], clock)
    if ended.returncode:
        return []
    found = []
    for line in ended.stdout.decode("ascii", "replace").splitlines():
        words = line.split()
        if words[:2] != ["-A", chain] or _after(words, "--comment") not in (_OURS, '"%s"' % _OURS):
            continue
        source, port, until = (_after(words, name) for name in ("-s", "--ctorigdstport", "--datestop"))
        if source is None or port is None or until is None or not port.isdigit():
            continue
        left = calendar.timegm(time.strptime(until, _FORM)) - time.time()
        clean = [word.strip('"') for word in words[2:]]
        found.append({"source": source, "port": int(port), "left": left, "words": clean})
    return found


def _after(words: List[str], name: str) -> Optional[str]:
    at = words.index(name) + 1 if name in words else len(words)
    return words[at] if at < len(words) else None


def _passes(version: int, chain: str, account: Account, clock: Clock) -> bool:
    """Whether packets to the ports pass the chain: FORWARD leads to Docker's before anything accepts."""
    if chain == "INPUT":
        return _quiet(version, ["-S", "INPUT"], account, clock) is not None
    if _quiet(version, ["-S", chain], account, clock) is None:
        return False
    for line in _quiet(version, ["-S", "FORWARD"], account, clock) or []:
        words = line.split()
        if words == ["-A", "FORWARD", "-j", chain]:
            return True
        if _after(words, "-j") == "ACCEPT":
            return False
    return False


def _quiet(version: int, words: List[str], account: Account, clock: Clock) -> Optional[List[str]]:
    """What a question prints; None: there is no such chain, or no such filter on this host."""
    try:
        ended = account.run([_FILTERS[version], "-w", "5", *words], clock)
    except Refused:
        if clock.is_over():
            raise
        return None
    return None if ended.returncode else list(ended.stdout.decode("ascii", "replace").splitlines())


def _iptables(version: int, words: List[str], account: Account, clock: Clock) -> None:
    ended = account.run([_FILTERS[version], "-w", "5", *words], clock)
    if ended.returncode:
        raise Refused("failed", "%s said: %s" % (_FILTERS[version], complaint(ended)))


def _chain(request: Dict[str, Any]) -> str:
    if request["chain"] not in _CHAINS:
        raise Refused("failed", "that is no chain for blocks")
    return str(request["chain"])


def _sources(request: Dict[str, Any]) -> List[Any]:
    """The networks, parsed; nothing else ever gets to the packet filter."""
    try:
        found = [ipaddress.ip_network(text) for text in request["sources"]]
    except ValueError:
        raise Refused("failed", "that is no address or network") from None
    for network in found:
        if network.prefixlen < {4: 24, 6: 64}[network.version] or not network.network_address.is_global:
            raise Refused("failed", "%s is too wide, or no public address" % network)
    return found


def _ports(request: Dict[str, Any]) -> List[int]:
    ports = [int(port) for port in request["ports"]]
    if not all(0 < port < 65536 for port in ports):
        raise Refused("failed", "that is no port")
    return ports


def _ip(words: List[str], account: Account, clock: Clock) -> List[Dict[str, Any]]:
    ended = account.run(["ip", "-j", *words], clock)
    if ended.returncode:
        raise Refused("failed", "ip said: %s" % complaint(ended))
    return list(json.loads(ended.stdout.decode("utf-8", "replace") or "[]"))


def _networks(account: Account, clock: Clock) -> List[str]:
    links = _ip(["addr", "show"], account, clock)
    found = []
    for link in links:
        for one in link.get("addr_info", []):
            if "local" in one and "prefixlen" in one:
                found.append(str(ipaddress.ip_interface("%s/%d" % (one["local"], one["prefixlen"])).network))
            if "address" in one:
                found.append(str(ipaddress.ip_network(one["address"])))
    return sorted(set(found))


def _gateways(account: Account, clock: Clock) -> List[str]:
    found = set()
    for words in (["-4", "route", "show", "table", "all"], ["-6", "route", "show", "table", "all"]):
        for route in _ip(words, account, clock):
            for one in [route, *route.get("nexthops", [])]:
                via = one.get("gateway") or one.get("via", {}).get("host")
                if via:
                    found.add(via)
    return sorted(found)


def _ssh_clients() -> List[str]:
    """Who is logged in over SSH now, from the environment of what runs for them; root sees all."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as file:
                words = file.read(65536).split(b"\0")
        except OSError:
            continue
        for word in words:
            if word.startswith(b"SSH_CONNECTION="):
                client = word.partition(b"=")[2].split(b" ")[0].partition(b"%")[0].decode("ascii", "replace")
                try:
                    found.add(str(ipaddress.ip_address(client)))
                except ValueError:
                    continue
    return sorted(found)
