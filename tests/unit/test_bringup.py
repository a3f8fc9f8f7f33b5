"""The steps of `up`: their order, what is left alone, and what a user learns of a failure."""

from __future__ import annotations

import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

import pytest
import yaml
from fake_kubernetes import ADMIN, KEYS, PROMOTED, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import bringup, etcd_members, kube, kubeadm, node_specs, undertaking
from kubedrill.bringup import BringUp, Made
from kubedrill.console import Console
from kubedrill.errors import CommandFailed, KubedrillError, StepFailed
from kubedrill.marks import JOINED
from kubedrill.network import Addresses
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

MACHINE = kubeadm.Machine(cgroup=2, etcd_tag=None, dns_tag=None)
MADE = Made("kubedrill/node:x", {"v1.37.2": "a-store"}, "flannel:x", MACHINE, ("192.0.2.53",))
SUBNET = IPv4Network("172.28.0.0/24")
API_PORT = 16443
SECRETS = (KEYS.token, KEYS.certificate_key)
# What etcd writes once it has its first snapshot, and once it hears of itself.
SNAPSHOT, WORD = '{"msg":"applied snapshot"}\n', '{"msg":"published local member to cluster through raft"}\n'
# Far below every limit of bring-up (60 s and more), far above what a fake needs.
SOON = 10


@dataclass
class Run:
    """A cluster of fakes, and what it takes to bring it up."""

    kubernetes: FakeKubernetes = field(default_factory=FakeKubernetes)
    published: list[str] = field(default_factory=list)
    controllers: threading.Event = field(default_factory=threading.Event)
    tokens: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.controllers.set()
        self.tokens.set()
        self.console = Console(show_commands=True)
        self.provider = FakeProvider(script=self.kubernetes.script, observer=self.console.command)
        self.provider.create_network("lab", NetworkSpec(str(SUBNET), {}))

    def up(self, spec: ClusterSpec) -> None:
        """Bring it up, as far as it is not."""
        existing = {node.name: node for node in self.provider.nodes("lab")}
        self.provider.events.clear()

        def publish(admin: str) -> str:
            self.published.append(admin)
            return "a kubeconfig"

        BringUp(spec, Addresses(SUBNET), self.provider, MADE, API_PORT, self.console, existing).run(publish)

    def fails(self, spec: ClusterSpec) -> str:
        """Bring it up in vain, and soon; gives what the user is told."""
        began = time.monotonic()
        with pytest.raises(KubedrillError) as caught:
            self.up(spec)
        assert time.monotonic() - began < SOON
        return str(caught.value)

    def at(self, *event: str) -> int:
        """When something happened for the first time; an event is given by its beginning."""
        for number, found in enumerate(self.provider.events):
            if found[: len(event) - 1] == event[:-1] and found[len(event) - 1].startswith(event[-1]):
                return number
        raise AssertionError(f"{event} never happened: {self.provider.events}")

    def ran(self, beginning: str) -> list[str]:
        """The nodes that ran a command, in order."""
        return [event[1] for event in self.provider.events if event[0] == "run" and event[2].startswith(beginning)]

    def joins(self) -> list[str]:
        """The nodes that ran `kubeadm join`, in order; of control planes the part that makes them members."""
        return [event[1] for event in self.provider.events if event[0] == "run" and joins(event[2])]

    def node(self, name: str) -> FakeNode:
        """One of its nodes."""
        return self.provider.node(name)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run in which waiting is quick, and the secrets and the API are the fake's."""
    made = Run()

    class FakeKube:
        """The API of the fake cluster."""

        def __init__(self, text: str) -> None:
            self.published = text == "a kubeconfig"
            assert self.published or f"https://127.0.0.1:{API_PORT}" in text

        def readyz(self) -> str:
            """Whether it answers."""
            return made.kubernetes.readyz()

        def has_config_map(self, namespace: str, name: str) -> bool:
            """Whether the controller manager has come so far."""
            made.provider.note("asked", namespace, name)
            return (made.tokens if name == "cluster-info" else made.controllers).is_set()

        def cluster(self) -> kube.ClusterSnapshot:
            """What is there."""
            assert self.published, "what `publish` returned is used"
            return made.kubernetes.snapshot(made.provider)

    def quick(*arguments: Any, **settings: Any) -> Any:
        return until(*arguments, **{**settings, "every": 0.005})

    monkeypatch.setattr(bringup, "Kube", FakeKube)
    monkeypatch.setattr(undertaking, "until", quick)
    monkeypatch.setattr(kube, "preload", lambda: None)
    monkeypatch.setattr(kubeadm, "new_secrets", lambda: KEYS)
    return made


def spec_of(control_planes: int = 1, workers: int = 2, **others: Any) -> ClusterSpec:
    return ClusterSpec(control_planes=control_planes, workers=workers, **others)


def joins(line: str) -> bool:
    """Whether a command makes a node part of the cluster: not the half of a join that needs no turn."""
    return line.startswith("kubeadm join") and line != shlex.join(kubeadm.JOIN_AT_ONCE)


def fail(
    node_name: str, beginning: str, output: str = "boom", status: int = 1
) -> Callable[[FakeNode, Call], Result | None]:
    """An answer that makes a command fail on a node."""

    def answer(node: FakeNode, call: Call) -> Result | None:
        matches = node.name == node_name and call.line.startswith(beginning)
        return Result(status, "", output) if matches else None

    return answer


class TestOrder:
    def test_one_control_plane(self, run: Run) -> None:
        run.up(spec_of())
        assert run.provider.names() == ["lab-control-plane-1", "lab-worker-1", "lab-worker-2"]
        assert run.ran("kubeadm init") == ["lab-control-plane-1"]
        assert sorted(run.joins()) == ["lab-worker-1", "lab-worker-2"]
        assert run.published == [ADMIN]
        for name in run.provider.names():
            assert JOINED in run.node(name).disk
        init = run.at("ran", "lab-control-plane-1", "kubeadm init")
        assert init < run.at("run", "lab-worker-1", "kubeadm join")
        assert init < run.at("write", "lab-control-plane-1", JOINED)

    def test_the_balancer_is_there_and_configured_before_init(self, run: Run) -> None:
        run.up(spec_of(3, 1))
        balancer = run.node("lab-load-balancer")
        assert balancer.text("/etc/haproxy/haproxy.cfg").count(":6443 check ") == 3
        written = run.at("write", "lab-load-balancer", "/etc/haproxy/haproxy.cfg")
        checked = run.at("ran", "lab-load-balancer", "systemctl is-active haproxy")
        assert written < checked < run.at("run", "lab-control-plane-1", "kubeadm init")

    def test_a_balancer_that_is_late_is_waited_for(self, run: Run) -> None:
        late = iter([Result(3, "activating\n", "")] * 5)

        def answer(node: FakeNode, call: Call) -> Result | None:
            return next(late, None) if node.role == "load-balancer" else None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))
        assert run.ran("systemctl is-active haproxy") == ["lab-load-balancer"] * 6
        last = max(n for n, event in enumerate(run.provider.events) if event[:2] == ("ran", "lab-load-balancer"))
        assert last < run.at("run", "lab-control-plane-1", "kubeadm init")

    def test_no_balancer_for_one_control_plane(self, run: Run) -> None:
        run.up(spec_of(1, 0))
        assert run.provider.names() == ["lab-control-plane-1"]

    def test_a_control_plane_joins_once_etcd_has_the_one_before_it(self, run: Run) -> None:
        """kubeadm join goes on for a while after its member serves; etcd takes one learner at a time."""
        last = threading.Event()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if joins(call.line):
                before = {f"lab-control-plane-{number}" for number in range(1, int(node.name[-1]))}
                assert before == run.kubernetes.members, "its predecessors serve, and none else has begun"
                for _ in range(3):
                    assert run.joins()[-1] == node.name
                    node.run(["sh", "-c", etcd_members.LOG])
                run.kubernetes.joined(node)
                # The end of the join is none of its successors' business.
                (last.set if node.name.endswith("5") else lambda: last.wait(SOON))()
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(5, 0))
        assert last.is_set()
        assert run.joins() == [f"lab-control-plane-{number}" for number in range(2, 6)]

    @pytest.mark.parametrize("quiet", ["slow nodes", "a setting of the user's"])
    def test_where_etcd_writes_nothing_of_it_another_one_is_asked(self, run: Run, quiet: str) -> None:
        listed = [0]

        def answer(node: FakeNode, call: Call) -> Result | None:
            if call.argv == ("sh", "-c", etcd_members.LIST) and "lab-control-plane-2" in run.kubernetes.members:
                listed[0] += 1
                if listed[0] < 20:
                    assert run.joins() == ["lab-control-plane-2"]
                    return Result(0, "1, unstarted, , https://a:2380, , true\n", "")
            if joins(call.line) and node.name.endswith("2"):
                run.kubernetes.joined(node)
                until(
                    lambda: run.joins()[-1], lambda last: (last.endswith("3"), last), within=SOON, every=0.005,
                    what="the next one",
                )  # fmt: skip
            return None

        run.kubernetes.answers = answer
        run.provider.slow = 25.0 if quiet == "slow nodes" else 1.0
        run.up(spec_of(3, 0, **({} if quiet == "slow nodes" else {"extra_args": {"etcd": {"log-level": "warn"}}})))
        assert listed[0] >= 20
        assert run.joins() == ["lab-control-plane-2", "lab-control-plane-3"]

    def test_a_control_plane_waits_for_a_member_that_only_learns(self, run: Run) -> None:
        listed = [0]

        def answer(node: FakeNode, call: Call) -> Result | None:
            if call.argv == ("sh", "-c", etcd_members.LOG) and node.name.endswith("2"):
                listed[0] += 1
                if listed[0] < 20:
                    assert run.joins() == ["lab-control-plane-2"][: len(run.joins())]
                    return Result(0, SNAPSHOT + WORD + PROMOTED.replace("5304", "51e4", 1), "")
            if joins(call.line) and node.name.endswith("2"):
                run.kubernetes.joined(node)
                until(
                    lambda: listed[0], lambda count: (count >= 20, str(count)), within=SOON, every=0.005, what="looks"
                )
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))
        assert run.joins() == ["lab-control-plane-2", "lab-control-plane-3"]

    def test_nobody_waits_for_the_last_phases_of_init(self, run: Run) -> None:
        def answer(node: FakeNode, call: Call) -> Result | None:
            if not call.line.startswith("kubeadm init"):
                return None
            run.kubernetes.answers = lambda _node, _call: None
            done = run.kubernetes.script(node, call)
            until(lambda: len([event for event in run.provider.events if event[-1] == "cluster-info"]),
                  lambda asked: (asked > 3, str(asked)), within=SOON, every=0.005, what="questions")  # fmt: skip
            assert run.ran("kubeadm join") == [], "before there are tokens"
            run.tokens.set()
            until(lambda: run.ran("kubeadm join"), lambda ran: (len(ran) == 4, str(ran)), within=SOON, every=0.005,
                  what="joins")  # fmt: skip
            assert not run.published, "that waits for its end"
            return done

        run.tokens.clear()
        run.kubernetes.answers = answer
        run.up(spec_of(3, 2))
        assert run.published

    def test_what_needs_no_turn_is_done_at_once(self, run: Run) -> None:
        together = threading.Barrier(2)

        def answer(_node: FakeNode, call: Call) -> Result | None:
            if call.argv == tuple(kubeadm.JOIN_AT_ONCE):
                together.wait(SOON)
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))
        assert not together.broken
        phases = [set(words[-1].partition("=")[2].split(",")) for words in (kubeadm.JOIN_AT_ONCE, kubeadm.JOIN_IN_TURN)]
        assert not phases[0] & phases[1], "no phase is left out in both"

    @pytest.mark.parametrize(
        ("log", "grown", "ended"),
        [
            pytest.param([SNAPSHOT], 0, 1, id="it missed the word of itself"),
            pytest.param([SNAPSHOT, SNAPSHOT + WORD], 0, 0, id="it hears of itself a moment later"),
            pytest.param(["", WORD], 0, 0, id="it needs no snapshot"),
            pytest.param([SNAPSHOT], 1, 0, id="a cluster that is in use gets its third one"),
        ],
    )
    def test_only_the_last_new_member_is_started_again(self, run: Run, log: list[str], grown: int, ended: int) -> None:
        told: Counter[int] = Counter()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if call.argv == ("sh", "-c", etcd_members.LOG) and node.name.endswith("3"):
                # Whoever asks, asks in a thread of its own.
                told[threading.get_ident()] += 1
                return Result(0, log[min(told[threading.get_ident()], len(log)) - 1], "")
            if joins(call.line) and node.name.endswith("3"):
                until(lambda: told.total() >= 30 or bool(run.ran("pkill")), lambda enough: (enough, ""), within=SOON,
                      every=0.005, what="looks")  # fmt: skip
            if call.line == "pkill --signal KILL --exact etcd":
                assert node.name == "lab-control-plane-3"
                return Result(0, "", "")
            return None

        if grown:
            run.up(spec_of(3, 0))
            run.node("lab-control-plane-3").remove()
        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))
        assert len(run.ran("pkill")) == ended

    def test_a_kubelet_that_waits_is_started_again_once_its_api_server_knows_it(self, run: Run) -> None:
        looks = [0]

        def answer(node: FakeNode, call: Call) -> Result | None:
            if kubeadm.BOOTSTRAP_KUBECONFIG in call.line and node.name.endswith("2"):
                looks[0] += 1
                return Result(0 if looks[0] > 5 else 1, "", "Unauthorized")
            if call.line == "systemctl restart kubelet" and node.name.endswith("2"):
                assert looks[0] > 5
            if joins(call.line) and node.name.endswith("2"):
                run.kubernetes.joined(node)
                until(lambda: run.ran("systemctl restart kubelet"), lambda ran: (node.name in ran, ""), within=SOON,
                      every=0.005, what="a kubelet that is started again")  # fmt: skip
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))

    def test_workers_join_at_once_beside_the_control_planes(self, run: Run) -> None:
        """Both workers and a control plane must be within kubeadm join at the same moment, or the barrier breaks."""
        together = threading.Barrier(3)

        def answer(node: FakeNode, call: Call) -> Result | None:
            if joins(call.line) and node.name != "lab-control-plane-3":
                together.wait(SOON)
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 2))
        assert not together.broken
        assert len(run.joins()) == 4

    def test_nobody_joins_before_the_controllers_work(self, run: Run) -> None:
        run.controllers.clear()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if joins(call.line):
                assert run.controllers.is_set()
            return None

        def asked_often() -> bool:
            return len([event for event in run.provider.events if event[0] == "asked"]) >= 5

        run.kubernetes.answers = answer
        helper = threading.Thread(
            target=lambda: (
                until(asked_often, lambda yes: (yes, ""), within=SOON, every=0.005, what="questions"),
                run.controllers.set(),
            )
        )
        helper.start()
        run.up(spec_of(3, 2))
        helper.join()
        assert run.at("asked", "default", "kube-root-ca.crt") < run.at("run", "lab-worker-1", "kubeadm join")
        assert len(run.joins()) == 4

    def test_nodes_are_made_at_once(self, run: Run) -> None:
        """All but the first control plane, which comes first."""
        together = threading.Barrier(3)

        def create(spec: NodeSpec) -> None:
            if spec.role == "worker":
                together.wait(SOON)

        run.provider.before_create = create
        run.up(spec_of(1, 3))
        assert not together.broken

    @pytest.mark.parametrize("control_planes", [1, 3])
    def test_flannel_is_applied_before_init_ends(self, run: Run, control_planes: int) -> None:
        """The fake's init fails if flannel waits for its end."""
        run.up(spec_of(control_planes))
        [manifest] = run.kubernetes.applied
        kinds = [document["kind"] for document in yaml.safe_load_all(manifest)]
        assert "DaemonSet" in kinds
        host = "172.28.0.2" if control_planes > 1 else "172.28.0.11"
        assert f"value: {host}\n" in manifest
        applied = run.at("ran", "lab-control-plane-1", "kubectl --kubeconfig /etc/kubernetes/super-admin.conf apply")
        assert applied < run.at("ran", "lab-control-plane-1", "kubeadm init")

    @pytest.mark.parametrize(("control_planes", "uploads"), [(1, False), (3, True)])
    def test_certificates_are_uploaded_where_others_need_them(
        self, run: Run, control_planes: int, uploads: bool
    ) -> None:
        run.up(spec_of(control_planes))
        [init] = [call for call in run.node("lab-control-plane-1").calls if call.argv[:2] == ("kubeadm", "init")]
        assert ("--upload-certs" in init.argv) is uploads


class TestNodes:
    def test_what_they_are_made_of(self, run: Run) -> None:
        nodes = {
            "worker-1": {"ports": [{"nodePort": 80, "hostPort": 8080, "protocol": "udp"}]},
            "worker": {"mounts": [{"hostPath": "/src", "nodePath": "/dst", "readOnly": True}]},
        }
        run.up(ClusterSpec.model_validate({"controlPlanes": 3, "workers": 1, "nodes": nodes}))
        environment = {"KUBEDRILL_NAMESERVERS": "192.0.2.53"}
        common = {"image": MADE.image, "environment": environment}
        assert run.node("lab-load-balancer").spec == NodeSpec(
            "lab-load-balancer", "load-balancer", "172.28.0.2", publish={(6443, "tcp"): 16443}, mounts=[], **common
        )  # type: ignore[arg-type]
        assert run.node("lab-control-plane-2").spec == NodeSpec(
            "lab-control-plane-2", "control-plane", "172.28.0.12", stores=MADE.stores, mounts=[], **common
        )  # type: ignore[arg-type]
        assert run.node("lab-worker-1").spec == NodeSpec(
            "lab-worker-1", "worker", "172.28.0.101", stores=MADE.stores, publish={(80, "udp"): 8080},
            mounts=[("/src", "/dst", True)], **common
        )  # type: ignore[arg-type]  # fmt: skip

    def test_the_only_control_plane_publishes_the_api(self, run: Run) -> None:
        run.up(spec_of(1, 1))
        assert run.node("lab-control-plane-1").spec.publish == {(6443, "tcp"): 16443}
        assert run.node("lab-worker-1").spec.publish == {}

    def test_vms_have_addresses_and_publish_nothing(self) -> None:
        spec, addresses = spec_of(vm={"controlPlaneMemory": 4000}), Addresses(SUBNET)
        made = node_specs.node_spec(spec, "control-plane-1", addresses, MADE, API_PORT)
        assert made.publish == {(6443, "tcp"): API_PORT}
        made = node_specs.node_spec(spec, "control-plane-1", addresses, MADE, None)
        assert (made.publish, made.memory, made.cpus) == ({}, 4000, 0)

    def test_slow_nodes_get_settings_and_limits_that_follow(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run.provider.slow = 17
        waits: list[float] = []
        quick = undertaking.until

        def noted(*arguments: Any, **settings: Any) -> Any:
            waits.append(settings["within"])
            return quick(*arguments, **settings)

        monkeypatch.setattr(undertaking, "until", noted)
        run.up(spec_of(1, 1))
        leader = run.node("lab-control-plane-1")
        assert "leader-elect" in leader.text(kubeadm.INIT_CONFIG)
        assert "timeouts" in leader.text(kubeadm.INIT_CONFIG)
        assert f"{kubeadm.PATCHES}/kube-apiserver+strategic.yaml" in leader.disk
        assert "timeouts" in run.node("lab-worker-1").text(kubeadm.JOIN_CONFIG)
        assert min(waits) >= 6 * 60
        begin, whole = [call for call in leader.calls if call.argv[:2] == ("kubeadm", "init")]
        assert [begin.timeout, whole.timeout] == [3600, 3600]
        assert "control-plane/scheduler" in begin.argv[-1]
        assert "control-plane/scheduler" not in whole.argv[-1]
        init = shlex.join(whole.argv)
        assert run.at("create", "lab-worker-1") < run.at("ran", leader.name, shlex.join(begin.argv)), (
            "nothing boots then"
        )
        assert run.at("ran", leader.name, init) < run.at("write", leader.name, JOINED), "half an init is none"
        assert all(f"/var/log/kubedrill/kubeadm-init{part}.log" in leader.disk for part in ("-begin", ""))

    def test_files_with_secrets_are_for_root_alone(self, run: Run) -> None:
        run.up(spec_of(3, 1))
        found = 0
        for name in run.provider.names():
            for path, file in run.node(name).disk.items():
                if any(secret in file.text for secret in SECRETS):
                    found += 1
                    assert file.mode == 0o600, f"{path} on {name}"
        assert found == 4, "one configuration on each node that joins"


class TestAgain:
    def test_nothing_is_done_where_all_nodes_have_joined(self, run: Run) -> None:
        spec = spec_of(3, 2)
        run.up(spec)
        run.up(spec)
        assert [event for event in run.provider.events if event[0] in ("create", "write", "remove", "start")] == []
        for beginning in ("kubeadm", "kubectl"):
            assert run.ran(beginning) == []
        assert run.published == [ADMIN, ADMIN]

    @pytest.mark.parametrize("name", ["lab-worker-2", "lab-control-plane-3"])
    def test_a_node_that_is_missing_joins_with_new_secrets(self, run: Run, name: str) -> None:
        spec = spec_of(3, 2)
        run.up(spec)
        run.node(name).remove()
        run.kubernetes.registered.discard(name)
        run.up(spec)
        assert run.joins() == [name]
        assert [event[1] for event in run.provider.events if event[0] == "create"] == [name]
        assert run.ran("kubeadm init --") == []
        token = run.at("ran", "lab-control-plane-1", f"kubeadm token create {KEYS.token}")
        upload = run.at("ran", "lab-control-plane-1", "kubeadm init phase upload-certs")
        assert max(token, upload) < run.at("run", name, "kubeadm join")
        (call,) = [call for call in run.node("lab-control-plane-1").calls if "upload-certs" in call.argv]
        assert call.argv[-2:] == ("--config", "/dev/stdin"), "kubeadm would ask the internet for a version"
        assert f"certificateKey: {KEYS.certificate_key}" in (call.stdin or "")
        assert run.kubernetes.applied[1:] == [], "flannel is there already"

    def test_nodes_that_do_not_run_are_started(self, run: Run) -> None:
        spec = spec_of(1, 2)
        run.up(spec)
        run.node("lab-control-plane-1").kill()
        run.node("lab-worker-1").stop()
        run.node("lab-worker-2").pause()
        run.up(spec)
        assert {name: run.node(name).state() for name in run.provider.names()} == dict.fromkeys(
            run.provider.names(), "running"
        )
        assert run.ran("kubeadm") == []


FAILURES = {
    "init": ("lab-control-plane-1", "kubeadm init", "lab-control-plane-1: kubeadm init"),
    "worker": ("lab-worker-2", "kubeadm join", "lab-worker-2: kubeadm join"),
    "control plane": ("lab-control-plane-3", shlex.join(kubeadm.JOIN_IN_TURN), "lab-control-plane-3: kubeadm join"),
    "control plane, its first half": (
        "lab-control-plane-3",
        shlex.join(kubeadm.JOIN_AT_ONCE),
        "lab-control-plane-3: kubeadm join, all that may be done at once",
    ),
    "flannel": (
        "lab-control-plane-1",
        "kubectl --kubeconfig /etc/kubernetes/super-admin.conf apply",
        "flannel applied",
    ),
}


class TestFailure:
    @pytest.mark.parametrize("case", FAILURES)
    def test_it_names_step_node_command_and_last_lines(self, run: Run, case: str) -> None:
        name, command, step = FAILURES[case]
        lines = [f"line {number}" for number in range(40)]
        run.kubernetes.answers = fail(name, command, "\n".join(lines))
        if case == "flannel":
            run.kubernetes.flannel.set()  # so that init ends
        told = run.fails(spec_of(3, 2))
        assert f"step '{step}' failed" in told
        assert f"a command failed on {name} (exit status 1)" in told
        assert command in told
        assert "line 39" in told
        assert "line 2\n" not in told, "the end of the output, not all of it"

    def test_what_kubeadm_printed_is_kept_in_the_node(self, run: Run) -> None:
        run.kubernetes.answers = fail("lab-worker-1", "kubeadm join", f"first line\n{KEYS.token}\nlast line")
        told = run.fails(spec_of(1, 1))
        log = "/var/log/kubedrill/kubeadm-join.log"
        assert log in told
        assert run.node("lab-worker-1").text(log) == "first line\n<secret>\nlast line"
        assert JOINED not in run.node("lab-worker-1").disk

    def test_other_waits_end_soon(self, run: Run) -> None:
        """init fails, and the API never answers: flannel's wait of 5 minutes must end with it."""
        asked = threading.Event()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if call.argv[:2] == ("kubeadm", "init"):
                assert asked.wait(SOON), "flannel asks for the API while init runs"
                return Result(1, "", "init broke")
            if call.argv == ("cat", "/etc/kubernetes/super-admin.conf"):
                asked.set()
            return None

        run.kubernetes.answers = answer
        assert "init broke" in run.fails(spec_of())
        ended()

    def test_a_wait_on_an_api_that_does_not_answer_ends_too(self, run: Run) -> None:
        """What is read raises each time, so that its check is never asked."""
        asked = threading.Event()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if call.argv[:2] == ("kubeadm", "init"):
                assert asked.wait(SOON), "the API is asked while init runs"
                return Result(1, "", "init broke")
            if call.argv == ("cat", "/etc/kubernetes/super-admin.conf"):
                return Result(0, ADMIN, "")
            return None

        def readyz() -> str:
            asked.set()
            raise kube.ApiUnavailable("no answer")

        run.kubernetes.answers = answer
        run.kubernetes.readyz = readyz  # type: ignore[method-assign]
        assert "init broke" in run.fails(spec_of())
        ended()

    def test_a_node_that_never_boots_does_not_hold_others_back(self, run: Run) -> None:
        booting = threading.Event()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if node.name == "lab-worker-1" and call.argv[0] == "systemctl":
                booting.set()
                return Result(3, "activating\n", "")
            if call.argv[:2] == ("kubeadm", "init"):
                assert booting.wait(SOON)
                return Result(1, "", "init broke")
            return None

        run.kubernetes.answers = answer
        assert "init broke" in run.fails(spec_of(1, 1))
        ended()

    def test_the_first_failure_is_told_not_the_waits_that_it_ended(self, run: Run) -> None:
        run.kubernetes.answers = fail("lab-control-plane-1", "kubeadm init", "the cause")
        told = run.fails(spec_of(3, 3))
        assert "the cause" in told
        assert "given up" not in told

    def test_a_node_that_cannot_be_made(self, run: Run) -> None:
        def refuse(spec: NodeSpec) -> None:
            if spec.name == "lab-worker-2":
                raise KubedrillError("no disk left")

        run.provider.before_create = refuse
        told = run.fails(spec_of())
        assert "step 'lab-worker-2: started' failed" in told
        assert "no disk left" in told

    def test_no_node_is_made_after_it_has_failed(self, run: Run) -> None:
        """Whoever removes the nodes of a failed run must find them all: a late one would stay for ever."""
        begun, go_on = threading.Event(), threading.Event()

        def slow(spec: NodeSpec) -> None:
            if spec.name == "lab-worker-1":
                begun.set()
                go_on.wait(0.5)

        def answer(node: FakeNode, call: Call) -> Result | None:
            if call.argv[:2] == ("kubeadm", "init"):
                assert begun.wait(SOON)
                return Result(1, "", "init broke")
            return None

        run.provider.before_create, run.kubernetes.answers = slow, answer
        assert "init broke" in run.fails(spec_of(1, 1))
        at_the_end = run.provider.names()
        go_on.set()
        ended()
        assert run.provider.names() == at_the_end

    def test_a_cluster_that_does_not_become_ready(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bringup, "_READY", 0.05)

        def answer(node: FakeNode, call: Call) -> Result | None:
            return Result(0, "", "") if node.name == "lab-worker-1" and "join" in call.argv else None

        run.kubernetes.answers = answer
        told = run.fails(spec_of(1, 1))
        assert "not registered yet: lab-worker-1" in told
        assert "all nodes Ready" in told

    def test_a_run_that_failed_can_be_finished(self, run: Run) -> None:
        run.kubernetes.answers = fail("lab-worker-2", "kubeadm join")
        run.fails(spec_of())
        run.kubernetes.answers = lambda _node, _call: None
        run.node("lab-worker-2").remove()
        run.up(spec_of())
        assert run.joins() == ["lab-worker-2"]


class TestSecrets:
    def held(self, run: Run) -> list[str]:
        """The files of all nodes that hold a secret."""
        return sorted(
            {
                path
                for name in run.provider.names()
                for path, file in run.node(name).disk.items()
                if any(secret in file.text for secret in SECRETS)
            }
        )

    def test_they_are_in_kubeadms_configuration_and_nowhere_else(
        self, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        spec = spec_of(3, 1)
        run.up(spec)
        run.node("lab-worker-1").remove()
        run.up(spec)  # shows `kubeadm token create`, too
        assert self.held(run) == [kubeadm.INIT_CONFIG, kubeadm.JOIN_CONFIG]
        printed = capsys.readouterr()
        for secret in SECRETS:
            assert secret not in printed.out + printed.err
        assert "kubeadm token create '<secret>'" in printed.out or "kubeadm token create <secret>" in printed.out
        assert f"cat >{kubeadm.INIT_CONFIG}" in printed.out

    @pytest.mark.parametrize(
        ("command", "missing"),
        [
            ("kubeadm init --config", None),
            ("kubeadm token create", "lab-worker-1"),
            ("kubeadm init phase upload-certs", "lab-control-plane-2"),
        ],
    )
    def test_an_error_does_not_tell_them(self, run: Run, command: str, missing: str | None) -> None:
        spec = spec_of(3, 1)
        if missing:
            run.up(spec)
            run.node(missing).remove()
        run.kubernetes.answers = fail("lab-control-plane-1", command, f"it said {' '.join(SECRETS)}")
        told = run.fails(spec)
        assert command in told
        for secret in SECRETS:
            assert secret not in told

    def test_nor_does_a_command_that_ran_out_of_time(self, run: Run) -> None:
        def answer(node: FakeNode, call: Call) -> Result | None:
            if call.argv[:2] == ("kubeadm", "init"):
                raise CommandFailed("kubeadm init", None, f"debugging {' '.join(SECRETS)}", "this machine")
            return None

        run.kubernetes.answers = answer
        told = run.fails(spec_of())
        assert "ran out of time" in told
        for secret in SECRETS:
            assert secret not in told


def ended() -> None:
    """Wait until no thread of bring-up runs any more."""
    until(
        lambda: [thread.name for thread in threading.enumerate() if thread.name.startswith("up_")],
        lambda left: (not left, f"still running: {left}"), within=SOON, every=0.01, what="the end of all threads",
    )  # fmt: skip


def test_step_failed_is_what_is_raised(run: Run) -> None:
    run.kubernetes.answers = fail("lab-control-plane-1", "kubeadm init")
    with pytest.raises(StepFailed) as caught:
        run.up(spec_of())
    assert caught.value.__cause__ is not None
