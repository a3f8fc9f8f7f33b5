"""Faults of pods, behind the API server's back: static pods, and a pod whose process dies."""

from __future__ import annotations

from dataclasses import dataclass

from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Map, Place, Plan, StateIs, named, node_name
from kubedrill.faults.computers import MANIFESTS, REMOVED, safe_name

# kubeadm makes the folder of manifests on control planes alone; where a fault had to make it, this says so.
_MADE = f"{REMOVED}/made-manifests"


@dataclass(frozen=True)
class StaticPod:
    """A static pod more: a file that the kubelet of its node starts a pod from, without asking anybody.

    The undo removes the file, and the folder where it was not there before; healed is what runs no container of the
    pod any more, and whose mirror pod is gone from the API.

    Args:
        node: where.
        pod: its name and that of its file; the API server knows it as NAME-NODE.
        manifest: what the file holds, YAML.
        namespace: the pod's.
    """

    node: Place
    pod: str
    manifest: str
    namespace: str

    def __post_init__(self) -> None:
        safe_name(self.pod, "static pod")
        safe_name(self.namespace, "namespace")

    @property
    def name(self) -> str:
        """What is done."""
        return f"static pod {self.pod}"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"write the manifest of the static pod {self.pod} on {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Write the file; the undo removes it."""
        node = node_name(cluster, self.node)
        mirrored, file = f"{self.pod}-{node}", f"{MANIFESTS}/{self.pod}.yaml"
        undo = (
            f"rm -f {file} {REMOVED}/{self.pod}.new; "
            f"if test -e {_MADE} && rmdir {MANIFESTS} 2>/dev/null; then rm {_MADE}; fi; "
            f"rmdir {REMOVED} 2>/dev/null || true"
        )
        mirror = (
            f"kubectl --request-timeout=10s get pod --namespace {self.namespace} {mirrored} --ignore-not-found -o name"
        )
        label = f"io.kubernetes.pod.name={mirrored}"
        return (
            Plan(
                before=(StateIs(node, "running"), Command(node, ("test", "!", "-e", file))),
                inject=(
                    Command(
                        node,
                        ("sh", "-c", f"test -d {MANIFESTS} || {{ mkdir -p {REMOVED} {MANIFESTS} && touch {_MADE}; }}"),
                    ),
                    write_manifest(node, self.pod, self.manifest),
                ),
                undo=(Command(node, ("sh", "-c", undo)),),
                healed=(
                    Command(node, ("test", "!", "-e", file)),
                    Command(node, ("sh", "-c", f'left=$(crictl ps --quiet --label {label}) && test -z "$left"')),
                    Command(ANY_CONTROL_PLANE, ("sh", "-c", f'left=$({mirror}) && test -z "$left"')),
                ),
            ),
        )


def write_manifest(node: str, name: str, manifest: str) -> Command:
    """The command that puts a manifest into the kubelet's folder in one step, so that it never reads half of one.

    Args:
        node: host name.
        name: of the file, without .yaml.
        manifest: its content.
    """
    new = f"{REMOVED}/{name}.new"
    script = f"mkdir -p {REMOVED} && cat > {new} && mv {new} {MANIFESTS}/{name}.yaml"
    return Command(node, ("sh", "-c", script), stdin=manifest)


@dataclass(frozen=True)
class KillPod:
    """The first process of a pod's container dies (SIGKILL); the pod stays, and its kubelet starts the container again.

    There is nothing to undo. Heal means that a container of the pod runs, or that the pod is gone.

    Args:
        node: where it runs.
        namespace: the pod's.
        pod: its name.
        container: which of its containers.
    """

    node: Place
    namespace: str
    pod: str
    container: str

    def __post_init__(self) -> None:
        for name, what in ((self.namespace, "namespace"), (self.pod, "pod"), (self.container, "container")):
            safe_name(name, what)

    @property
    def name(self) -> str:
        """What is done."""
        return f"kill {self.container}"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"kill the process of the pod {self.pod} on {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """kill -KILL; nothing to undo."""
        node = node_name(cluster, self.node)
        labels = (
            f"--label io.kubernetes.pod.name={self.pod} --label io.kubernetes.pod.namespace={self.namespace} "
            f"--label io.kubernetes.container.name={self.container}"
        )
        found = f'id=$(crictl ps --quiet {labels}) && test -n "$id"'
        pid = "crictl inspect --output go-template --template '{{.info.pid}}' \"$id\""
        gone = f'pods=$(crictl pods --quiet --state Ready --name "^{self.pod}$") && test -z "$pods"'
        return (
            Plan(
                before=(StateIs(node, "running"), Command(node, ("sh", "-c", found))),
                inject=(Command(node, ("sh", "-c", f'{found} && pid=$({pid}) && kill -KILL "$pid"')),),
                undo=(),
                healed=(Command(node, ("sh", "-c", f"{{ {found}; }} || {{ {gone}; }}"), until_boot=True),),
            ),
        )
