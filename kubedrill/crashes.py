"""Parts of a control plane that end again and again: what is waited for cannot come then, and they say why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kubedrill.errors import KubedrillError
from kubedrill.providers.base import Node

# What ends for want of another part, as an API server without etcd, takes 20 s for that; what ends so often sooner than
# what is waited for comes, ends by itself.
TIMES = 3
_LINES = 60
# For the kubelet and for each container of the node's own pods: a line that begins with a '#', with how often it was
# started again, and the end of what it has said. A log's number is that of the start that it is of.
LOOK = [
    "sh", "-c",
    f"""echo "# kubelet $(systemctl show kubelet --property=NRestarts --value)"
journalctl --unit kubelet --output cat --no-pager --lines {_LINES} | grep -vE '^(kubelet.service|Start|Stop|Scheduled)'
for folder in /var/log/pods/kube-system_*/*; do
    newest=$(ls "$folder" 2>/dev/null | grep -E '^[0-9]+[.]log$' | sort -n | tail -n 1)
    [ -n "$newest" ] || continue
    echo "# ${{folder##*/}} ${{newest%.log}}"
    (cd "$folder" && cat $(ls | grep -E '^[0-9]+[.]log$' | sort -n)) | tail -n {_LINES} | cut -d ' ' -f 4-
done""",
]  # fmt: skip
# How a line begins, or what is in it, that says why a program ends: cobra's, Go's own, klog's and etcd's.
_WHY = re.compile(
    r'^(Error|error|panic|fatal|flag provided but not defined)\b|^[EF]\d{4} |"level":"(fatal|panic)"|command failed'
)


@dataclass(frozen=True)
class Crash:
    """A part that was started again.

    Args:
        part: its name: kubelet, kube-apiserver, etcd.
        times: how often.
        words: what it said, the line that tells why it ended, or else the last ones.
    """

    part: str
    times: int
    words: tuple[str, ...]


def parse(text: str) -> list[Crash]:
    """What LOOK prints, of parts that were started again; the most often first.

    Args:
        text: all of it.
    """
    found: list[Crash] = []
    for block in re.split(r"^# ", text, flags=re.MULTILINE)[1:]:
        head, *lines = block.splitlines()
        part, _, times = head.partition(" ")
        if times.isdigit() and int(times):
            found.append(Crash(part, int(times), _words(lines)))
    return sorted(found, key=lambda one: -one.times)


def _words(lines: Sequence[str]) -> tuple[str, ...]:
    said = [line.strip()[:300] for line in lines if line.strip()]
    why = [line for line in said if _WHY.search(line)]
    return tuple(why[-1:] or said[-2:])


def seen(node: Node) -> list[Crash]:
    """The parts of a node that were started again.

    Args:
        node: it runs.
    """
    return parse(node.run(LOOK, check=False, show=False, timeout=30).stdout)


def need_none(node: Node) -> None:
    """See whether what is waited for can come.

    Args:
        node: it runs.

    Raises:
        KubedrillError: a part of it has ended so often that it cannot; with what it said.
    """
    for one in seen(node)[:1]:
        if one.times >= TIMES:
            where = "journal.txt" if one.part == "kubelet" else f"pods/kube-system_{one.part}-*"
            raise KubedrillError(
                f"{one.part} on {node.name} ends again and again: it was started {one.times + 1} times",
                evidence=[f"it said: {line}" for line in one.words],
                todo=["see extraArgs, featureGates and nodes of the configuration; "
                      f"the logs that are kept have all of it: {node.name}/{where}"],
            )  # fmt: skip
