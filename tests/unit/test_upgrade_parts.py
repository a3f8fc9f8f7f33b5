"""What an upgrade is made of: pods that settle, plans, configuration, programs that stay, its cargo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from upgrade_world import AFTER, CONFIGURATION, PLAN, static

from kubedrill import kubeadm, loadbalancer, upgrade
from kubedrill.images.cargo import Cargo
from kubedrill.images.oci import Image


@pytest.mark.parametrize(
    ("now", "passed", "settled"),
    [
        ({"a": "old", "b": "old"}, 5, False),
        ({"a": "old", "b": "old"}, 11, True),
        ({"a": "new", "b": "old"}, 60, False),
        ({"a": "new", "b": "new"}, 1, True),
        ({"a": "new", "b": "new, away"}, 60, False),
        ({"a": "new"}, 60, False),
    ],
)
def test_a_new_kubelet_starts_all_static_pods_anew_or_none(now: dict[str, str], passed: float, settled: bool) -> None:
    pods = [static(name, "lab", known.split(",")[0], ready="away" not in known) for name, known in now.items()]
    others = [static("a", "other", "old"), replace(static("c", "lab", "x"), owner="DaemonSet/c")]
    assert upgrade.settled([*pods, *others], "lab", {"a": "old", "b": "old"}, passed)[0] is settled


def test_what_kubeadm_plans() -> None:
    assert upgrade.planned(PLAN) == [
        "COMPONENT   NODE                  CURRENT   TARGET",
        "kubelet     lab-control-plane-1   v1.36.5   v1.37.2",
        "COMPONENT                 NODE                  CURRENT   TARGET",
        "kube-apiserver            lab-control-plane-1   v1.36.5   v1.37.2",
        "CoreDNS                                         v1.15.0   v1.14.6",
    ]
    assert upgrade.planned("nothing of that kind") == []


class TestConfiguration:
    def test_with_a_coredns_of_its_own(self) -> None:
        assert kubeadm.own_dns(CONFIGURATION)
        config = yaml.safe_load(kubeadm.upgrade_config(AFTER, own_dns=True, plane=True))
        assert config["kind"] == "UpgradeConfiguration"
        assert config["plan"]["kubernetesVersion"] == config["apply"]["kubernetesVersion"] == AFTER
        for part in ("apply", "node"):
            assert config[part]["skipPhases"] == ["addon/coredns"]
            assert config[part]["patches"] == {"directory": kubeadm.PATCHES}
            assert config[part]["imagePullPolicy"] == "Never"
            assert "CoreDNSMigration" in config[part]["ignorePreflightErrors"]

    def test_with_kubeadm_s_coredns_on_a_worker(self) -> None:
        assert not kubeadm.own_dns("kind: ClusterConfiguration\ndns: {}\n")
        config = yaml.safe_load(kubeadm.upgrade_config(AFTER, own_dns=False, plane=False))
        assert "skipPhases" not in config["node"]
        assert "patches" not in config["node"]
        assert "CoreDNSMigration" not in config["plan"]["ignorePreflightErrors"]


def test_cargo_makes_an_archive_once(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("x")
    images = {name: Image(name, {"/program": tmp_path / "program"}) for name in ("a:1", "b:1")}
    cargo = Cargo(AFTER, {}, images, ("c:1",))
    assert cargo.names() == ("a:1", "b:1", "c:1")
    first: Sequence[Path] = [cargo.archive(name, tmp_path) for name in ("a:1", "b:1")]
    assert len(set(first)) == 2
    (tmp_path / "program").unlink()
    assert cargo.archive("a:1", tmp_path) == first[0]


def test_the_balancer_s_words() -> None:
    assert loadbalancer.set_state("lab-control-plane-1", "drain")[-1].endswith(f"socat -t 5 - {loadbalancer.SOCKET}")
