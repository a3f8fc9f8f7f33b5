"""VMs come and go: what is asked of whom, and what is left where something fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import vm_world
from vm_world import SUBNET, World

from kubedrill import host, paths, slowness
from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers import vagrant
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.shell import Result

world = vm_world.world  # a fixture


class TestNetwork:
    def test_what_is_kept_with_it_comes_back(self, world: World) -> None:
        provider = world.cluster(spec="{}")
        assert provider.network("lab") == NetworkSpec(SUBNET, {"spec": "{}"})
        assert list(provider.clusters()) == ["lab"]
        assert world.networks == {"kubedrill-lab": True}
        # By hand: cd there && vagrant status
        assert (world.home / "lab" / "Vagrantfile").read_text() == (paths.repository() / "Vagrantfile").read_text()
        assert (world.home / "lab" / "id_ed25519").stat().st_mode & 0o777 == 0o600

    def test_other_things_are_kept_with_it_from_now_on(self, world: World) -> None:
        provider = world.cluster()
        provider.create_node("lab", world.spec())
        provider.change("lab", {"spec": "larger", "api-host": "172.31.9.2"})
        assert provider.network("lab") == NetworkSpec(SUBNET, {"spec": "larger", "api-host": "172.31.9.2"})
        assert [node.name for node in provider.nodes("lab")] == ["lab-worker-1"]
        with pytest.raises(NotFound):
            provider.change("gone", {})

    @pytest.mark.parametrize("subnet", [SUBNET, "172.31.9.128/25"])
    def test_a_subnet_that_is_taken(self, world: World, subnet: str) -> None:
        with pytest.raises(KubedrillError, match="overlaps"):
            world.cluster().create_network("other", NetworkSpec(subnet, {}))
        assert list(world.provider().clusters()) == ["lab"]

    def test_one_that_libvirt_refuses_leaves_nothing(self, world: World) -> None:
        with pytest.raises(KubedrillError, match="in use"):
            world.cluster(subnet="172.31.66.0/24")
        assert list(world.provider().clusters()) == []
        assert not (world.home / "lab").exists()

    @pytest.mark.parametrize(
        ("asked", "works", "expected"),
        [
            ("auto", False, "qemu"),
            ("auto", True, "kvm"),
            ("emulation", True, "qemu"),
            ("kvm", True, "kvm"),
            ("virtualbox", False, "virtualbox"),
        ],
    )
    def test_kvm_only_where_it_works(self, world: World, asked: str, works: bool, expected: str) -> None:
        world.kvm = host.Kvm(works, "seen")
        world.cluster(**{vagrant.DRIVER: asked})
        assert f'"driver": "{expected}"' in (world.home / "lab" / "cluster.json").read_text()

    @pytest.mark.parametrize(("asked", "why"), [("kvm", "no svm"), ("xen", "auto, kvm, emulation, virtualbox")])
    def test_a_driver_that_cannot_be(self, world: World, asked: str, why: str) -> None:
        with pytest.raises(KubedrillError) as caught:
            world.cluster(**{vagrant.DRIVER: asked})
        assert why in str(caught.value)
        assert list(world.provider().clusters()) == []


class TestCreation:
    def test_a_vm_becomes_a_node(self, world: World) -> None:
        node = world.cluster().create_node(
            "lab", world.spec(environment={"KUBEDRILL_NAMESERVERS": "192.0.2.1 192.0.2.2"})
        )
        assert (node.name, node.role, node.address, node.state()) == (
            "lab-worker-1",
            "worker",
            "172.31.9.101",
            "running",
        )
        settings = world.written["/etc/kubedrill/environment"]
        assert "KUBEDRILL_NAMESERVERS='192.0.2.1 192.0.2.2'\n" in settings
        assert "KUBEDRILL_STORE=v1.37.2\n" in settings
        public = (world.home / "lab" / "id_ed25519.pub").read_text()
        assert world.written["/root/.ssh/authorized_keys"] == f"600 {public}", "the box's key opens it no longer"
        assert world.said[-1].endswith("kubedrill-become lab-worker-1 worker")
        assert [one.name for one in world.provider().nodes("lab")] == ["lab-worker-1"]

    def test_the_first_one_is_timed_and_no_other(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        provider = world.cluster()
        assert provider.slowness("lab") == 1.0
        provider.create_node("lab", world.spec(1))
        assert provider.slowness("lab") == 17.0
        monkeypatch.setattr(slowness, "measure", lambda _: pytest.fail("timed again"))
        provider.create_node("lab", world.spec(2))

    def test_a_box_comes_into_the_pool_once_and_then_all_boot_together(self, world: World) -> None:
        bring, boot = threading.Lock(), threading.Barrier(2)

        def importing(_name: str) -> None:
            assert bring.acquire(blocking=False), "another one brings it already"

        def booting(_name: str) -> None:
            world.volume = True
            bring.release()
            boot.wait(10)

        world.importing, world.booting = importing, booting
        provider = world.cluster()
        with ThreadPoolExecutor(max_workers=2) as pool:
            nodes = list(pool.map(lambda number: provider.create_node("lab", world.spec(number)), (1, 2)))
        assert [node.name for node in nodes] == ["lab-worker-1", "lab-worker-2"]
        assert not boot.broken

    @pytest.mark.parametrize(("driver", "expected"), [("emulation", "libvirt"), ("virtualbox", "virtualbox")])
    def test_vagrant_is_told_what_runs_it(self, world: World, driver: str, expected: str) -> None:
        world.cluster(**{vagrant.DRIVER: driver}).create_node("lab", world.spec())
        assert f"Vagrant with {expected}" in world.said

    def test_one_that_vagrant_cannot_make_leaves_nothing(self, world: World) -> None:
        provider = world.cluster()
        world.up_fails = True
        with pytest.raises(KubedrillError, match="lab-worker-1 could not be made"):
            provider.create_node("lab", world.spec())
        assert world.vms == {}
        assert list(provider.nodes("lab")) == []

    def test_nor_does_one_that_does_not_become_a_node(self, world: World) -> None:
        provider = world.cluster()
        world.answers["kubedrill-become"] = Result(1, "", "no such disk")
        with pytest.raises(KubedrillError, match="no such disk"):
            provider.create_node("lab", world.spec())
        assert world.vms == {}

    @pytest.mark.parametrize(
        ("more", "why"),
        [({"publish": {(6443, "tcp"): 1}}, "ports 6443"), ({"mounts": [("/srv", "/srv", True)]}, "mounts")],
    )
    def test_what_only_containers_have_is_refused_with_the_reason(
        self, world: World, more: dict[str, Any], why: str
    ) -> None:
        with pytest.raises(KubedrillError) as caught:
            world.cluster().create_node("lab", world.spec(**more))
        assert why in str(caught.value)
        assert world.vms == {}

    def test_sizes_are_the_roles_or_what_was_asked_for(self, world: World) -> None:
        provider = world.cluster()
        provider.create_node("lab", world.spec(1))
        provider.create_node("lab", world.spec(2, memory=900, cpus=3))
        found = {vm.name: (vm.memory, vm.cpus) for vm in vagrant.vagrant_state.load(world.home / "lab").vms}
        assert found == {"lab-worker-1": (1536, 1), "lab-worker-2": (900, 3)}


def test_a_cluster_goes_with_all_that_it_has(world: World) -> None:
    provider = world.cluster()
    for number in (1, 2):
        provider.create_node("lab", world.spec(number))
    said = provider.remove_cluster("lab")
    assert list(said) == ["node lab-worker-1", "node lab-worker-2", "network kubedrill-lab"]
    assert (world.vms, world.networks, list(provider.clusters())) == ({}, {}, [])
    assert not (world.home / "lab").exists()
    assert list(provider.remove_cluster("lab")) == []


def test_nodes_come_in_the_order_of_roles_and_numbers(world: World) -> None:
    provider = world.cluster()
    for number in (10, 2):
        provider.create_node("lab", world.spec(number))
    provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.31.9.11", world.box))
    assert [node.name for node in provider.nodes("lab")] == ["lab-control-plane-1", "lab-worker-2", "lab-worker-10"]
