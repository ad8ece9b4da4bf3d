"""Services of a Windows host: how one is, its log, starting and stopping it. None ran here: see ``windows_host``.

A process is found by ``Win32_Process``, since Windows PowerShell 5.1 has no command line on what ``Get-Process`` gives
(the hazard of test_watcher.TestWatcherDown.d1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightshift.remediation.clients.windows_host import WindowsHost
from nightshift.remediation.errors import CommandFailedError, ConfigurationError, TargetChangedError
from nightshift.remediation.hosts.arguments import OnHostService
from nightshift.remediation.hosts.services import HostService, Running, ServiceEvidence, ServiceState
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import printable

_LOOKING_SECONDS = 60.0
_CHANGING_SECONDS = 150.0
_NEVER_STARTED = 1077
"""ERROR_SERVICE_NEVER_STARTED: nobody has tried since the host started."""
_STATES = {
    "Running": "running",
    "Start Pending": "starting",
    "Continue Pending": "starting",
    "Stop Pending": "stopping",
    "Stopped": "stopped",
}

STATE = """\
function State{$s=@(Get-CimInstance Win32_Service|Where-Object{$_.Name -eq $v.name})[0]
if(-not $s){return @{state=''}}
$p=@(Get-CimInstance Win32_Process|Where-Object{$s.ProcessId -and $_.ProcessId -eq $s.ProcessId})[0]
$r='';if($p){$r='{0}@{1}' -f $p.ProcessId,$p.CreationDate.ToUniversalTime().ToString('o')}
@{state=$s.State;start_mode=$s.StartMode;pid=$s.ProcessId;exit_code=$s.ExitCode;account=$s.StartName;run=$r}}
"""
LOOK = STATE + "function Answer{State}"
EVIDENCE = (
    STATE
    + """\
function Log{Get-Content -LiteralPath $v.log -Tail $v.lines -Encoding UTF8|ForEach-Object{
"$_".Substring(0,[Math]::Min(600,"$_".Length))}}
function Answer{$s=State;$l=@();$u='';$a=$null
if($v.log){try{$l=@(Log);$a=((Get-Date)-(Get-Item -LiteralPath $v.log).LastWriteTime).TotalSeconds}
catch{$u="$($_.Exception.Message)"}}
$c=@();if($v.script){$c=@(Get-CimInstance Win32_Process|Where-Object{$_.CommandLine -and
$_.CommandLine.Contains($v.script) -and $_.ProcessId -ne $s.pid}|ForEach-Object{@{pid=$_.ProcessId;command=$_.Name}})}
$h=@();if($v.port){$h=@(Get-NetTCPConnection -State Listen -LocalPort $v.port -ErrorAction SilentlyContinue|
ForEach-Object{@{pid=$_.OwningProcess;command=''}})}
@{service=$s;log=$l;log_age=$a;log_unseen=$u;copies=$c;holders=$h}}
"""
)
START = (
    STATE
    + """\
function Answer{$b=State
if($b.run -ne $v.run -or ($b.state -eq 'Running') -ne $v.runs){return @{changed=$true}}
if($v.runs){Restart-Service -Name $v.name}else{Start-Service -Name $v.name}
$e=(Get-Date).AddSeconds($v.settle)
do{Start-Sleep -Milliseconds 500;$a=State}while($a.state -in 'Running','Start Pending' -and (Get-Date) -lt $e)
$a}
"""
)
STOP = (
    STATE
    + """\
function Answer{$b=State
if($b.run -ne $v.run -or $b.state -ne 'Running'){return @{changed=$true}}
Stop-Service -Name $v.name;State}
"""
)
RIGHTS = """\
function Answer{$i=[Security.Principal.WindowsIdentity]::GetCurrent()
@{user=$i.Name;administrator=(New-Object Security.Principal.WindowsPrincipal $i).IsInRole('Administrators')}}
"""
VERSION = """\
function Answer{@{version="$($PSVersionTable.PSVersion)";user=[Security.Principal.WindowsIdentity]::GetCurrent().Name}}
"""
SCRIPTS = (LOOK, EVIDENCE, START, STOP, RIGHTS, VERSION)
"""All that is ever run there."""


class WindowsServices:
    """The services of one open host; see :class:`nightshift.remediation.clients.host_services.Services`."""

    def __init__(self, host: WindowsHost) -> None:
        self._host = host

    def now(self, arguments: OnHostService) -> ServiceState:
        """How the service of an action is."""
        what = f"look at {arguments.name}"
        return state_of(self._host.ask(what, LOOK, {"name": arguments.name}, seconds=_LOOKING_SECONDS))

    def evidence(self, rule: HostService, lines: int) -> ServiceEvidence:
        """Its state, the end of its log file, who runs the same program, and who holds its port."""
        if rule.manager != "windows":
            raise ConfigurationError(f"{self._host.name} is a Windows host: {rule.name} needs `manager: windows`.")
        values = {"log": rule.log or "", "script": rule.script, "port": rule.port or 0, "lines": lines}
        what = f"gather evidence of {rule.name}"
        found = self._host.ask(what, EVIDENCE, {"name": rule.name, **values}, seconds=_LOOKING_SECONDS)
        return ServiceEvidence(
            service=state_of(found["service"]),
            log=tuple(map(str, found["log"])),
            log_age=found["log_age"],
            log_unseen=str(found["log_unseen"]),
            copies=tuple(_running(one) for one in found["copies"]),
            holders=tuple(_running(one) for one in found["holders"]),
        )

    def start_again(self, arguments: OnHostService) -> ServiceState:
        """Start or restart the run that was seen, and wait until it has run for a moment."""
        after = self._changed("start", START, arguments)
        if not after.runs:
            raise CommandFailedError(f"{arguments.name} was started and is {after.state}, with {after.exit_code}.")
        return after

    def stop(self, arguments: OnHostService) -> None:
        """Stop the run that was seen."""
        self._changed("stop", STOP, arguments)

    def lacks(self, arguments: OnHostService) -> list[Lack]:
        """Starting services is for administrators; what else may be allowed cannot be asked for without trying."""
        found = self._host.ask("look at the permissions", RIGHTS, {}, seconds=_LOOKING_SECONDS)
        if found["administrator"]:
            return []
        user = printable(str(found["user"]), 80)
        return [Lack(what=f"start {arguments.name}", grant=f'net localgroup Administrators "{user}" /add')]

    def _changed(self, verb: str, script: str, arguments: OnHostService) -> ServiceState:
        values = arguments.model_dump(mode="json", include={"name", "run", "runs", "settle"})
        seconds = _CHANGING_SECONDS + arguments.settle
        found = self._host.ask(f"{verb} {arguments.name}", script, values, seconds=seconds)
        if "changed" in found:
            raise TargetChangedError(f"{arguments.name} was started or stopped by somebody else meanwhile.")
        return state_of(found)


def state_of(found: Mapping[str, Any]) -> ServiceState:
    """What the function ``State`` tells, in the words of all platforms."""
    if not found["state"]:
        return ServiceState(state="")
    state = _STATES.get(str(found["state"]), "unknown")
    code = None if state == "running" or found["exit_code"] == _NEVER_STARTED else int(found["exit_code"])
    return ServiceState(
        state="failed" if state == "stopped" and code else state,
        run=str(found["run"]),
        detail=str(found["state"]),
        pid=int(found["pid"]),
        exit_code=code,
        switched_off=found["start_mode"] == "Disabled",
        account=str(found["account"] or ""),
    )


def _running(found: Mapping[str, Any]) -> Running:
    return Running(pid=int(found["pid"]), command=str(found["command"]))
