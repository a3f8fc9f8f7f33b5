"""What libvirt is asked of VMs that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers.virsh import Virsh
from kubedrill.shell import Result

GONE = Result(1, "", "error: failed to get domain 'kubedrill-x'\n")


class Libvirt:
    """Answers by the first words after `virsh --connect URI --quiet`; keeps what was asked."""

    def __init__(self, **answers: Result | str) -> None:
        self.answers = {name.replace("_", "-"): answer for name, answer in answers.items()}
        self.asked: list[str] = []

    def run(self, argv: list[str], **_: Any) -> Result:
        words = argv[4:]
        self.asked.append(" ".join(words))
        answer = self.answers.get(words[0], "")
        return Result(0, answer, "") if isinstance(answer, str) else answer


@pytest.mark.parametrize(
    ("said", "expected"),
    [("running\n\n", "running"), ("paused\n", "paused"), ("shut off\n", "stopped"), ("in shutdown\n", "running")],
)
def test_states(said: str, expected: str) -> None:
    assert Virsh(Libvirt(domstate=said).run).state("kubedrill-x") == expected


def test_a_state_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KubedrillError, match="'dying'"):
        Virsh(Libvirt(domstate="dying\n").run).state("kubedrill-x")


@pytest.mark.parametrize("action", ["start", "destroy", "suspend", "resume"])
def test_what_is_gone_is_not_found(action: str) -> None:
    with pytest.raises(NotFound, match="kubedrill-x"):
        Virsh(Libvirt(**{action: GONE}).run).act(action, "kubedrill-x")


def test_a_refusal_tells_why() -> None:
    refused = Result(
        1, "", "error: Failed to destroy domain 'x'\nerror: Requested operation is not valid: not running\n"
    )
    with pytest.raises(KubedrillError, match="virsh destroy") as caught:
        Virsh(Libvirt(destroy=refused).run).act("destroy", "x")
    assert not isinstance(caught.value, NotFound)
    assert "Requested operation is not valid: not running" in caught.value.evidence


def test_the_own_disk_is_the_first_one() -> None:
    table = " vda    /pool/kubedrill-x.img\n vdb    /pool/store.img\n"
    assert Virsh(Libvirt(domblklist=table).run).disk("kubedrill-x") == Path("/pool/kubedrill-x.img")
    with pytest.raises(NotFound):
        Virsh(Libvirt(domblklist=" vdb    /pool/store.img\n").run).disk("kubedrill-x")


@pytest.mark.parametrize(("state", "switched_off"), [("running\n", True), ("shut off\n", False)])
def test_removing_takes_the_own_disk_and_leaves_the_stores(state: str, switched_off: bool) -> None:
    libvirt = Libvirt(
        list="other\nkubedrill-x\n", domblklist=" vda /pool/kubedrill-x.img\n vdb /pool/s.img\n", domstate=state
    )
    Virsh(libvirt.run).remove("kubedrill-x")
    assert ("destroy kubedrill-x" in libvirt.asked) == switched_off
    assert libvirt.asked[-2:] == ["undefine kubedrill-x", "vol-delete --pool default kubedrill-x.img"]


def test_removing_what_is_not_there_is_harmless() -> None:
    libvirt = Libvirt(list="kubedrill-xy\n")
    Virsh(libvirt.run).remove("kubedrill-x")
    assert libvirt.asked == ["list --all --name"]


def test_a_network_that_does_not_start_is_removed_again() -> None:
    libvirt = Libvirt(net_start=Result(1, "", "error: Network is already in use by interface eth0\n"))
    with pytest.raises(KubedrillError) as caught:
        Virsh(libvirt.run).create_network("<network/>", "kubedrill-lab")
    assert "already in use" in str(caught.value)
    assert libvirt.asked[-1] == "net-undefine kubedrill-lab"


@pytest.mark.parametrize(("active", "expected"), [("kubedrill-lab\n", False), ("", True)])
def test_a_network_is_started_where_it_is_not(active: str, expected: bool) -> None:
    libvirt = Libvirt(net_list=active)
    Virsh(libvirt.run).start_network("kubedrill-lab")
    assert ("net-start kubedrill-lab" in libvirt.asked) == expected


def test_a_network_is_removed_once() -> None:
    libvirt = Libvirt(net_list="kubedrill-lab\n")
    assert Virsh(libvirt.run).remove_network("kubedrill-lab")
    assert libvirt.asked[-2:] == ["net-destroy kubedrill-lab", "net-undefine kubedrill-lab"]
    assert not Virsh(Libvirt(net_list="default\n").run).remove_network("kubedrill-lab")


def test_a_volume_is_known_by_the_beginning_of_its_name() -> None:
    listed = " kubedrill-abc_vagrant_box_image_0_17_box_0.img   /pool/x\n"
    assert Virsh(Libvirt(vol_list=listed).run).has_volume("kubedrill-abc_vagrant_box_image")
    assert not Virsh(Libvirt(vol_list=listed).run).has_volume("kubedrill-abd_vagrant_box_image")
