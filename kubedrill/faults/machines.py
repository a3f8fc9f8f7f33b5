"""Faults that only a whole computer can have: its clock, its disk, its power, its kernel. Refused in containers."""

from __future__ import annotations

from dataclasses import dataclass

from kubedrill.faults.actions import Command, Map, Place, Plan, Power, StateIs, named, node_name

OWN = "own_machine"
# The hardware clock, which the hypervisor keeps right whatever the VM's own clock says.
_RTC = "/sys/class/rtc/rtc0/since_epoch"
RIGHT = f'off=$(($(date +%s) - $(cat {_RTC}))); echo "off by $off s"; [ "$off" -ge -5 ] && [ "$off" -le 5 ]'
SET_RIGHT = f'date --utc --set "@$(cat {_RTC})"'
# Whatever is left, in ever smaller pieces; what root alone may use, too, since etcd is root.
_FILL = (
    "at=0; for step in 1073741824 67108864 1048576 4096; do "
    'while fallocate --offset "$at" --length "$step" {file} 2>/dev/null; do at=$((at + step)); done; done; '
    '[ "$at" -gt 0 ]'
)


@dataclass(frozen=True)
class SkewClock:
    """A clock that is wrong: it jumps, and then goes on. The undo sets it by the hardware clock; so does a boot.

    Args:
        node: where.
        seconds: how far ahead it jumps; back where it is negative.
    """

    node: Place
    seconds: int

    @property
    def name(self) -> str:
        """What is done."""
        return "skew clock"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        way = "ahead" if self.seconds > 0 else "back"
        return f"set the clock of {self.node} {abs(self.seconds)} s {way}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """date --set."""
        node = node_name(cluster, self.node)
        right = Command(node, ("sh", "-c", RIGHT), until_boot=True)
        jump = f'date --utc --set "@$(($(date +%s) + {self.seconds}))"'
        return (
            Plan(
                needs=((node, OWN),),
                before=(StateIs(node, "running"), right),
                inject=(Command(node, ("sh", "-c", jump)),),
                undo=(Command(node, ("sh", "-c", SET_RIGHT), until_boot=True),),
                healed=(right,),
            ),
        )


@dataclass(frozen=True)
class FillDisk:
    """A disk with no byte left, also for root. The undo removes the file that fills it.

    Args:
        node: where.
        folder: of the file; its file system is filled.
    """

    node: Place
    folder: str = "/var/lib"

    def __post_init__(self) -> None:
        if not self.folder.startswith("/") or not self.folder.replace("/", "").replace("-", "").isalnum():
            raise ValueError(f"{self.folder!r} is no folder that a disk can be filled in")

    @property
    def name(self) -> str:
        """What is done."""
        return "fill disk"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"fill the disk of {self.node} ({self.folder})"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """fallocate; the undo removes the file."""
        node, file = node_name(cluster, self.node), f"{self.folder}/kubedrill-filled-{mark}"
        room = Command(node, ("sh", "-c", f'[ "$(stat --file-system --format %f {self.folder})" -gt 1000 ]'))
        return (
            Plan(
                needs=((node, OWN),),
                before=(StateIs(node, "running"), room),
                inject=(Command(node, ("sh", "-c", _FILL.format(file=file)), timeout=120),),
                undo=(Command(node, ("rm", "-f", file)),),
                healed=(Command(node, ("test", "!", "-e", file)), room),
            ),
        )


@dataclass(frozen=True)
class PowerCut:
    """The plug is pulled: what was not synced to the disk is lost, as it is not in a container. The undo starts it."""

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "cut power"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"cut the power of {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Kill; the undo starts it."""
        node = node_name(cluster, self.node)
        running = StateIs(node, "running")
        return (
            Plan(
                needs=((node, OWN),),
                before=(running,),
                inject=(Power(node, "kill"),),
                undo=(Power(node, "start"),),
                healed=(running, Command(node, ("true",))),
            ),
        )


@dataclass(frozen=True)
class KernelPanic:
    """The kernel panics and hangs: the computer is on, and does nothing any more. The undo is its reset button."""

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "kernel panic"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"let the kernel of {self.node} panic"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """SysRq c, a second after the command has ended; a kernel that would boot again by itself is told not to."""
        node = node_name(cluster, self.node)
        running = StateIs(node, "running")
        later = "setsid sh -c 'sleep 1; echo c >/proc/sysrq-trigger' >/dev/null 2>&1 &"
        crash = f"echo 0 >/proc/sys/kernel/panic; {later}"
        return (
            Plan(
                needs=((node, OWN),),
                before=(running, Command(node, ("true",))),
                inject=(Command(node, ("sh", "-c", crash)),),
                undo=(Power(node, "kill"), Power(node, "start")),
                healed=(running, Command(node, ("true",))),
            ),
        )
