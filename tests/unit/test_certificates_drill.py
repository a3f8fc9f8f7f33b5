"""The drill of certificates: its faults' scripts are run for real, with real certificates in a folder of the test's."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import ModuleType

import loading
import pytest
import yaml
from fake_provider import FakeProvider

from kubedrill import shell
from kubedrill.cluster import Cluster
from kubedrill.faults import Fault, JoinToken, RenewCertificates, ShortKubeletCertificate
from kubedrill.faults.actions import Command, Plan, from_data, to_data
from kubedrill.faults.certificates import CURRENT
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.spec import ClusterSpec

MARK = "0badcafe"
RENEW = RenewCertificates("control-plane-1", "kind: ClusterConfiguration\n", "load-balancer")
KUBELET = ShortKubeletCertificate("control-plane-1")


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    provider = FakeProvider()
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.28.0.11", "an image"))
    provider.create_node("lab", NodeSpec("lab-load-balancer", "load-balancer", "172.28.0.2", "an image"))
    return Cluster(ClusterSpec(workers=0), tuple(provider.nodes("lab")), 1)


def plan(cluster: Cluster, fault: Fault) -> Plan:
    (only,) = fault.ways(cluster, MARK)
    return only


@pytest.mark.parametrize("fault", [RENEW, KUBELET, JoinToken("control-plane-1")])
def test_a_plan_can_be_written_to_disk_and_says_when_it_is_healed(cluster: Cluster, fault: Fault) -> None:
    made = plan(cluster, fault)
    assert made.before
    assert made.undo
    assert made.healed
    for action in (*made.inject, *made.undo, *made.healed, *made.before):
        assert from_data(json.loads(json.dumps(to_data(action)))) == action


class Node:
    """A folder that stands for /etc/kubernetes and /var/lib/kubelet, with programs of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("bin", "pki/etcd", "kubelet"):
            (root / folder).mkdir(parents=True)
        self.program("crictl", f'echo "$@" >>{root}/crictl.log; [ "$1" = ps ] && echo 1234 || true')
        self.program("systemctl", f'echo "$@" >>{root}/systemctl.log')

    def program(self, name: str, script: str) -> None:
        """A program that the scripts find first."""
        (self.root / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.root / "bin" / name).chmod(0o755)

    def certificate(self, days: int) -> str:
        """A certificate that is good for so many days."""
        lines = shell.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-subj", "/CN=x", "-keyout", "/dev/null", "-days", str(days)]
        )  # fmt: skip
        return lines.stdout

    def renew(self, days: int) -> None:
        """Write all that kubeadm renews."""
        for file in ("pki/apiserver.crt", "pki/etcd/peer.crt"):
            (self.root / file).write_text(self.certificate(days))
        user = {"user": {"client-certificate-data": base64.b64encode(self.certificate(days).encode()).decode()}}
        (self.root / "admin.conf").write_text(yaml.safe_dump({"users": [user]}, width=1000000))

    def do(self, action: object) -> int:
        """Carry out a command; its status."""
        assert isinstance(action, Command)
        argv = [word.replace("/etc/kubernetes", str(self.root)).replace("/var/lib/kubelet", f"{self.root}/kubelet")
                for word in action.argv]  # fmt: skip
        env = {"PATH": f"{self.root}/bin:/usr/bin:/bin"}
        return shell.run(argv, stdin=action.stdin, env=env, check=False).status

    def text(self, file: str) -> str:
        """What a file holds; empty where there is none."""
        return (self.root / file).read_text() if (self.root / file).exists() else ""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


class TestRenewCertificates:
    def test_what_ends_soon_is_refused_as_broken_already(self, node: Node, cluster: Cluster) -> None:
        check = plan(cluster, RENEW).before[1]
        node.renew(30)
        assert node.do(check) == 0
        (node.root / "pki" / "etcd" / "peer.crt").write_text(node.certificate(1))
        assert node.do(check) == 1
        node.renew(30)
        user = {"user": {"client-certificate-data": base64.b64encode(node.certificate(1).encode()).decode()}}
        (node.root / "admin.conf").write_text(yaml.safe_dump({"users": [user]}, width=1000000))
        assert node.do(check) == 1, "certificates in kubeconfigs count"

    def test_short_ones_are_put_back_and_the_static_pods_started_again(self, node: Node, cluster: Cluster) -> None:
        made = plan(cluster, RENEW)
        node.renew(30)
        before = {name: node.text(name) for name in ("pki/apiserver.crt", "pki/etcd/peer.crt", "admin.conf")}
        assert node.do(made.inject[1]) == 0
        node.renew(1)
        assert node.do(made.undo[0]) == 0
        assert {name: node.text(name) for name in before} == before
        assert node.text("crictl.log").count("stop --timeout 5 1234") == 4
        assert not (node.root / "kubedrill-removed").exists()
        (node.root / "crictl.log").unlink()
        assert node.do(made.undo[0]) == 0
        assert not node.text("crictl.log"), "the second time there is nothing left to do"

    def test_renewed_ones_stay(self, node: Node, cluster: Cluster) -> None:
        made = plan(cluster, RENEW)
        node.renew(30)
        node.do(made.inject[1])
        node.renew(60)
        after = node.text("pki/apiserver.crt")
        assert node.do(made.undo[0]) == 0
        assert node.text("pki/apiserver.crt") == after
        assert not node.text("crictl.log")
        assert not (node.root / "kubedrill-removed").exists()

    def test_an_undo_that_was_cut_off_while_it_put_back_goes_on(self, node: Node, cluster: Cluster) -> None:
        made = plan(cluster, RENEW)
        node.renew(30)
        node.do(made.inject[1])
        node.renew(1)
        crictl = node.text("bin/crictl")
        node.program("crictl", "exit 1")
        assert node.do(made.undo[0]) == 0, "a container that is gone already is no error"
        node.do(made.inject[1])
        node.renew(1)
        node.program("tar", f'/bin/tar "$@"; touch {node.root}/cut; kill -KILL $PPID')
        assert node.do(made.undo[0]) != 0
        (node.root / "bin" / "tar").unlink()
        (node.root / "bin" / "crictl").write_text(crictl)
        assert node.do(made.undo[0]) == 0
        assert node.text("crictl.log").count("stop") == 4

    def test_nobody_is_sent_there_before_it_serves(self, cluster: Cluster) -> None:
        made = plan(cluster, RENEW)
        lines = [" ".join(action.argv) for action in made.undo if isinstance(action, Command)]
        serves = next(number for number, line in enumerate(lines) if "--cacert" in line)
        ready = next(number for number, line in enumerate(lines) if "state ready" in line)
        assert serves < ready
        alone = plan(cluster, RenewCertificates("control-plane-1", ""))
        assert not any("haproxy" in str(action) for action in (*alone.inject, *alone.undo))


class TestShortKubeletCertificate:
    @pytest.fixture
    def pki(self, node: Node) -> Path:
        folder = node.root / "kubelet" / "pki"
        folder.mkdir()
        (folder / "kubelet-client-2026.pem").write_text(node.certificate(30))
        (folder / "kubelet-client-current.pem").symlink_to(folder / "kubelet-client-2026.pem")
        return folder

    def shorten(self, node: Node, pki: Path, days: int) -> None:
        (pki / "kubelet-client-short.pem").write_text(node.certificate(days))
        current = pki / Path(CURRENT).name
        current.unlink()
        current.symlink_to(pki / "kubelet-client-short.pem")

    def test_the_old_one_comes_back(self, node: Node, cluster: Cluster, pki: Path) -> None:
        made = plan(cluster, KUBELET)
        assert node.do(made.inject[0]) == 0
        self.shorten(node, pki, 1)
        assert node.do(made.healed[0]) == 1
        assert node.do(made.undo[0]) == node.do(made.undo[0]) == 0
        assert (pki / "kubelet-client-current.pem").resolve().name == "kubelet-client-2026.pem"
        assert not (pki / "kubelet-client-short.pem").exists()
        assert node.text("systemctl.log") == "restart kubelet\n"
        assert node.do(made.healed[0]) == 0

    def test_one_that_the_kubelet_got_itself_stays(self, node: Node, cluster: Cluster, pki: Path) -> None:
        made = plan(cluster, KUBELET)
        node.do(made.inject[0])
        self.shorten(node, pki, 30)
        (pki / "kubelet-client-short.pem").rename(pki / "kubelet-client-2027.pem")
        current = pki / "kubelet-client-current.pem"
        current.unlink()
        current.symlink_to(pki / "kubelet-client-2027.pem")
        assert node.do(made.undo[0]) == 0
        assert current.resolve().name == "kubelet-client-2027.pem"
        assert not node.text("systemctl.log")


def test_a_token_is_never_in_a_plan(cluster: Cluster) -> None:
    made = plan(cluster, JoinToken("control-plane-1"))
    create = made.inject[0]
    assert isinstance(create, Command)
    assert create.argv[-1].endswith(">/dev/null"), "kubeadm prints it"
    assert any(f"kubedrill-{MARK}" in str(action) for action in made.undo)


def module() -> ModuleType:
    return loading.drill("certificates")


class TestDrill:
    def test_what_kubeadm_tells_of_certificates(self) -> None:
        told = {
            "certificates": [
                {"name": "admin.conf", "residualTime": 31535999, "missing": False},
                {"name": "apiserver", "residualTime": -3},
                {"name": "super-admin.conf", "missing": True, "residualTime": 0},
            ],
            "certificateAuthorities": [{"name": "ca", "residualTime": 315359999}],
        }
        assert module().residuals(json.dumps(told)) == {"admin.conf": 31535999, "apiserver": -3}

    def test_a_join_pins_the_ca(self) -> None:
        text = module().join_file("lab-worker-1", "https://172.28.0.2:6443", "abcdef.0123456789abcdef", "00ff")
        discovery = yaml.safe_load(text)["discovery"]["bootstrapToken"]
        assert discovery == {
            "apiServerEndpoint": "172.28.0.2:6443", "token": "abcdef.0123456789abcdef", "caCertHashes": ["sha256:00ff"],
        }  # fmt: skip

    def test_a_kubelet_keeps_certificate_and_key_in_one_file(self) -> None:
        user = {"client-certificate-data": base64.b64encode(b"CERT\n").decode(),
                "client-key-data": base64.b64encode(b"KEY\n").decode()}  # fmt: skip
        assert module().pem_of(yaml.safe_dump({"users": [{"user": user}]})) == "CERT\nKEY\n"
