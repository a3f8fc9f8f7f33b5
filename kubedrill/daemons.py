"""Programs of ours that nodes run as systemd units, besides what Kubernetes is made of: registries, hollow kubelets."""

from __future__ import annotations

from pathlib import Path

from kubedrill.providers.base import Node

# In a node. Each lies below the name of its build, so that another one is another path.
PROGRAMS = "/usr/local/lib/kubedrill"


def place(node: Node, program: Path) -> str:
    """Bring a program into a node, unless it is there.

    Args:
        node: where.
        program: on this machine, in a folder that is named after its content.

    Returns:
        Its path there.
    """
    path = f"{PROGRAMS}/{program.parent.name}"
    if node.run(["test", "-x", path], check=False, show=False).status != 0:
        node.run(["mkdir", "-p", PROGRAMS], show=False)
        node.send(program, f"{path}.new")
        node.run(["sh", "-c", f"chmod 755 {path}.new && mv {path}.new {path}"], show=False)
    return path


def start(node: Node, unit: str) -> None:
    """Run a unit whose file has just been written, now and at each boot."""
    node.run(["systemctl", "daemon-reload"])
    node.run(["systemctl", "enable", unit])
    node.run(["systemctl", "restart", unit])
