"""Ending one runaway process, on a person's word: which one, and what that costs.

bybit_strategy_tester.HighCPUUsage.r1.1 and test_watcher.HighCPUUsage.r2.1, without their hazards: SIGTERM first, never
the first process of a container, and never a process whose number, start, program, owner and service are not the ones
that were diagnosed.
"""

from __future__ import annotations

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.durations import format_duration
from nightshift.remediation.host_load.arguments import EndProcess
from nightshift.remediation.host_load.ownership import Owned
from nightshift.remediation.host_load.policy import HostLoadPolicy
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Action, Impact, Quantity, Risk, Target, format_bytes
from nightshift.remediation.text import printable

_STILL = 0.5
"""Of what counts as hungry: below it, it runs away no more. Not of what was measured, which differs at every look."""


@serves("bybit_strategy_tester.HighCPUUsage: r1.1", "test_watcher.HighCPUUsage: r2.1")
def end(target: Target, host: str, boot: str, one: Owned, policy: HostLoadPolicy) -> Action:
    """SIGTERM, and SIGKILL where it does not end in time, to this very process."""
    process = one.process
    arguments = EndProcess(
        host=host,
        pid=process.pid,
        started=process.started,
        boot=boot,
        executable=process.executable,
        identity=process.identity,
        owner=process.owner,
        unit=process.unit,
        container=process.container,
        grace=policy.grace,
        cpus=_STILL * policy.hungry_percent / 100,
    )
    age = format_duration(process.age)
    why = f"its job is overdue by {format_duration(process.age - one.job.at_most)}" if one.job else "it is no known job"
    return Action(
        kind=EndProcess.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"{process.pid}@{process.started}@{boot}",),
        title=f"End {one.name}: SIGTERM, and SIGKILL after {format_duration(policy.grace)}",
        reason=f"it uses {process.cpus:.1f} processors, runs for {age}, and {why}",
        risk=Risk.HIGH,
        asks="Only a person knows whether anybody waits for its work, which is lost.",
        bound=Quantity(amount=1, unit="processes"),
        undo=f"{CANNOT_BE_UNDONE}: it can be started again, and begins from the start",
        impact=Impact(
            what=printable(process.command, 120),
            how_much=f"{process.cpus:.1f} processors, {format_bytes(process.memory)}, for {age}",
            users=f"service {printable(one.service or '', 60)}, account {printable(process.account, 40)}",
        ),
    )
