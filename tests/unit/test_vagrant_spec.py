"""What the Vagrantfile and libvirt are told of a cluster of VMs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from kubedrill.errors import KubedrillError
from kubedrill.providers import vagrant_state
from kubedrill.providers.vagrant_spec import Driver, Vm, VmCluster, bridge, from_json, mac, network_xml, to_json

FOLDER = Path("/state/lab")
STORES = {"v1.37.2": "/pool/store-37.img", "v1.36.5": "/pool/store-36.img"}
LEADER = Vm("lab-control-plane-1", "control-plane", "172.28.7.11", "kubedrill-abc", 3072, 2, STORES)
WORKER = Vm("lab-worker-1", "worker", "172.28.7.101", "kubedrill-abc", 1536, 1)


def cluster(driver: Driver = "qemu") -> VmCluster:
    return VmCluster("lab", "172.28.7.0/24", driver, {"spec": '{"é": "\'"}'}, (LEADER, WORKER))


def machine(driver: Driver, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(to_json(cluster(driver), FOLDER))["machines"][number]
    return found


def test_what_is_kept_comes_back() -> None:
    assert from_json(to_json(cluster(), FOLDER)) == cluster()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kept": {"name": "x"}}', '{"kept": {"vms": [{"no": 1}]}}'])
def test_a_broken_file_is_said_so(text: str) -> None:
    with pytest.raises(KubedrillError, match="cannot be read"):
        from_json(text)


def test_each_address_has_a_mac_address_of_its_own() -> None:
    assert mac("172.28.7.11") == "52:4b:ac:1c:07:0b"
    first = int(mac("172.28.7.11").split(":")[0], 16)
    assert first & 0b11 == 0b10, "locally administered, and no multicast"


def test_a_bridge_has_a_name_that_the_kernel_takes() -> None:
    assert len(bridge("a" * 40)) <= 15
    assert bridge("a" * 40) != bridge("a" * 39 + "b")


def test_the_network_gives_each_mac_address_its_address_and_no_other_machine_any() -> None:
    root = ElementTree.fromstring(network_xml(cluster()))
    address = root.find("ip")
    assert address is not None
    assert (address.get("address"), address.get("netmask")) == ("172.28.7.1", "255.255.255.0")
    hosts = {host.get("mac"): host.get("ip") for host in root.iter("host")}
    assert len(hosts) == 253
    for vm in (LEADER, WORKER):
        assert hosts[mac(vm.address)] == vm.address
    assert root.find(".//range") is None


@pytest.mark.parametrize(("driver", "cpu"), [("kvm", "host-passthrough"), ("qemu", "maximum")])
def test_how_a_vm_is_run(driver: Driver, cpu: str) -> None:
    settings = machine(driver, 0)["libvirt"]["settings"]
    assert (settings["driver"], settings["cpu_mode"]) == (driver, cpu)
    assert any("tb-cache" in feature for feature in settings["features"]) == (driver == "qemu")
    assert (settings["memory"], settings["cpus"]) == (3072, 2)
    assert settings["management_network_name"] == "kubedrill-lab"
    assert settings["management_network_mac"] == mac(LEADER.address)
    # Otherwise removing one VM would take the network from the others.
    assert settings["management_network_keep"] is True


def test_features_are_whole_elements_as_vagrants_plug_in_writes_them() -> None:
    features = machine("qemu", 0)["libvirt"]["settings"]["features"]
    root = ElementTree.fromstring("<features>" + "".join(f"<{feature}/>" for feature in features) + "</features>")
    assert root.findtext("tcg/tb-cache") == "2048"


@pytest.mark.parametrize("driver", ["kvm", "qemu"])
def test_an_emulated_processor_lacks_what_it_is_faster_without(driver: Driver) -> None:
    words = machine(driver, 0)["libvirt"]["arguments"]
    if driver == "kvm":
        assert words == []
        return
    option, processor = words
    model, *features = processor.split(",")
    assert (option, model) == ("-cpu", "max")
    assert {"-erms", "-la57", "-smap"} <= set(features)
    assert all(feature.startswith("-") for feature in features)


def test_the_stores_are_disks_that_all_vms_share_and_nobody_removes() -> None:
    disks = machine("qemu", 0)["libvirt"]["disks"]
    assert [(disk["path"], disk["device"]) for disk in disks] == [("store-37.img", "vdb"), ("store-36.img", "vdc")]
    assert all(disk["shareable"] and disk["allow_existing"] for disk in disks)
    assert machine("qemu", 1)["libvirt"]["disks"] == []


def test_how_virtualbox_runs_it() -> None:
    found = machine("virtualbox", 0)
    assert "libvirt" not in found
    settings = found["virtualbox"]
    assert settings["settings"] == {"name": "kubedrill-lab-control-plane-1", "memory": 3072, "cpus": 2}
    assert settings["network"] == {"ip": "172.28.7.11", "mac": "524BAC1C070B", "auto_config": False}
    mediums = [words[words.index("--medium") + 1] for words in settings["customize"] if "--medium" in words]
    assert mediums == ["/pool/store-37.vdi", "/pool/store-36.vdi"]


class TestState:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        vagrant_state.save(tmp_path, cluster())
        return tmp_path

    def test_a_vm_is_added_and_dropped(self, folder: Path) -> None:
        another = Vm("lab-worker-2", "worker", "172.28.7.102", "kubedrill-abc", 1536, 1)
        with vagrant_state.changing(folder) as kept:
            kept.add(another)
        assert vagrant_state.load(folder).vms == (LEADER, WORKER, another)
        with vagrant_state.changing(folder) as kept:
            kept.drop(WORKER.name)
        assert vagrant_state.load(folder).vms == (LEADER, another)

    @pytest.mark.parametrize(
        ("name", "address"),
        [("lab-worker-1", "172.28.7.9"), ("lab-worker-9", "172.28.7.101"), ("lab-worker-9", "172.28.8.101")],
    )
    def test_one_that_cannot_be_changes_nothing(self, folder: Path, name: str, address: str) -> None:
        with pytest.raises(KubedrillError), vagrant_state.changing(folder) as kept:
            kept.add(Vm(name, "worker", address, "kubedrill-abc", 1536, 1))
        assert vagrant_state.load(folder) == cluster()

    def test_there_is_nothing_to_change_where_there_is_no_cluster(self, tmp_path: Path) -> None:
        with pytest.raises(KubedrillError, match="no network"), vagrant_state.changing(tmp_path):
            pass
