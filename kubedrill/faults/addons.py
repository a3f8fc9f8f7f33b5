"""A change that is no harm: add-ons under a manager, undone so that the cluster is as it was found."""

from __future__ import annotations

from dataclasses import dataclass

from kubedrill import user_kubeconfig
from kubedrill.addons import metrics_server, render
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Map, Place, Plan, StateIs, named, node_name
from kubedrill.network import to_yaml

_KUBECTL = "kubectl --request-timeout=20s"
# What the manager leaves its label on.
_KINDS = (
    "apiservices,deployments,daemonsets,services,configmaps,serviceaccounts,roles,rolebindings,clusterroles,"
    "clusterrolebindings"
)


@dataclass(frozen=True)
class ManageAddOns:
    """The add-on manager on all control planes, with its directory.

    The undo ends it everywhere, then takes away what it made, and puts every object that it took over back to what it
    was, whatever happened to it meanwhile: it is made again where it is gone.

    Args:
        control_planes: all of them.
        files: (name, text) of the manager's directory.
        found: the objects that are taken over, as YAML, as they were before.
        managed: False applies the manifests once and starts no manager: for a negative control.
    """

    control_planes: tuple[Place, ...]
    files: tuple[tuple[str, str], ...]
    found: str
    managed: bool = True

    @property
    def name(self) -> str:
        """What is done."""
        return "add-on manager" if self.managed else "add-ons"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(*self.control_planes)

    def __str__(self) -> str:
        how = "keep add-ons by a manager on" if self.managed else "apply add-ons once, without a manager, from"
        return f"{how} {named(*self.control_planes)}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Files, a kubeconfig of its own, and at last the static pod; the undo begins with that."""
        nodes = [node_name(cluster, node) for node in self.control_planes]
        free = (
            f"test ! -e {render.DIRECTORY} && found=$({_KUBECTL} get deployment --namespace kube-system "
            f'{metrics_server.NAME} --ignore-not-found --output name) && test -z "$found"'
        )
        return (
            Plan(
                before=tuple(
                    check for node in nodes for check in (StateIs(node, "running"), _shell(node, free))
                ),
                inject=(
                    *(_write(node, f"{render.DIRECTORY}/{name}", text) for node in nodes for name, text in self.files),
                    *(_shell(node, _CREDENTIALS) for node in nodes),
                    _shell(ANY_CONTROL_PLANE, f"{_KUBECTL} apply -f -", to_yaml([render.binding()])),
                    *(self._start(node) for node in nodes if self.managed),
                    *(self._once() if not self.managed else ()),
                ),
                undo=self._undo(nodes),
                healed=(
                    *(_shell(node, f"test ! -e {render.STATIC_POD} && test ! -e {render.DIRECTORY}") for node in nodes),
                    _shell(ANY_CONTROL_PLANE, _NO_LABEL),
                    _shell(ANY_CONTROL_PLANE, _SERVES, timeout=100),
                ),
            ),
        )  # fmt: skip

    def _start(self, node: str) -> Command:
        return _write(node, render.STATIC_POD, render.static_pod())

    def _once(self) -> tuple[Command, ...]:
        return tuple(_shell(ANY_CONTROL_PLANE, f"{_KUBECTL} apply -f -", text) for _, text in self.files)

    def _undo(self, nodes: list[str]) -> tuple[Command, ...]:
        own = to_yaml([*metrics_server.objects(), render.binding()])
        delete = f"{_KUBECTL} delete --ignore-not-found --timeout=40s"
        return (
            *(_shell(node, f"rm -f {render.STATIC_POD}") for node in nodes),
            # A round that is under way would put back once more what is taken away here.
            *(_shell(node, f"! pgrep -x {render.NAME}") for node in nodes),
            # First of all: an API without its Service stalls the deletion of namespaces.
            _shell(ANY_CONTROL_PLANE, f"{delete} apiservice {metrics_server.API_SERVICE}"),
            _shell(ANY_CONTROL_PLANE, f"{delete} -f -", own),
            _shell(ANY_CONTROL_PLANE, _RESTORE, self.found),
            *(_shell(node, f"rm -rf {render.DIRECTORY} {render.KUBECONFIG}") for node in nodes),
        )


_CREDENTIALS = (
    f"test -e {render.KUBECONFIG} || {{ umask 077; "
    f"{user_kubeconfig.script(render.USER, group=render.GROUP, kubectl=_KUBECTL)} >{render.KUBECONFIG}.new && "
    f"mv {render.KUBECONFIG}.new {render.KUBECONFIG}; }}"
)
# What is gone is made again, what is there replaced: both by one action, as it is repeated as a whole.
_RESTORE = (
    f"found=$(cat); printf '%s\\n' \"$found\" | {_KUBECTL} create -f - >/dev/null 2>&1; "
    f"printf '%s\\n' \"$found\" | {_KUBECTL} replace -f -"
)
_NO_LABEL = f'left=$({_KUBECTL} get {_KINDS} -A -l {render.MODE} --output name) && echo "$left" && test -z "$left"'
_SERVES = (
    "kubectl --namespace kube-system rollout status --timeout=90s deployment/coredns && "
    "kubectl --namespace kube-system rollout status --timeout=90s daemonset/kube-proxy"
)


def _shell(node: str, script: str, stdin: str = "", timeout: float = 60) -> Command:
    return Command(node, ("sh", "-c", script), stdin=stdin, timeout=timeout)


def _write(node: str, path: str, text: str) -> Command:
    """A file that is there whole or not at all: whoever reads the folder leaves names with a dot alone."""
    folder, _, name = path.rpartition("/")
    return _shell(node, f"umask 077; mkdir -p {folder}; cat >{folder}/.{name} && mv {folder}/.{name} {path}", text)
