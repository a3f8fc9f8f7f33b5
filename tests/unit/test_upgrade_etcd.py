"""An upgrade where etcd has computers of its own: they get their kubelets one after another, and never are two away."""

from __future__ import annotations

import pytest
import upgrade_world
from upgrade_world import AFTER, BEFORE, NEW, World, made

from kubedrill import cluster, etcd_upgrade, operations, upgrade
from kubedrill.console import Console
from kubedrill.errors import KubedrillError
from kubedrill.etcd_upgrade import settled
from kubedrill.shell import Result

make = upgrade_world.make  # a fixture
MEMBERS = [f"lab-etcd-{number}" for number in (1, 2, 3)]
ALL = "".join(f"https://{name}:2379 is healthy: successfully\n" for name in MEMBERS)


@pytest.fixture
def world(make: type[World]) -> World:
    """A control plane, a worker, and three computers for etcd."""
    return made(make, 1, 1, "external")


class TestOrder:
    def test_they_come_last_one_after_another(self, world: World) -> None:
        world.etcd.lingers = 3  # right after the restart all looks well
        assert world.run().spec.kubernetes == NEW
        parts = ("mv -f /usr/bin/.kubeadm-", "mv -f /usr/bin/.kubelet-", "restart kubelet", "images import")
        order = [line for line in world.order(*parts) if line.startswith("etcd-")]
        assert order == [
            f"etcd-{number}: {part}" for number in (1, 2, 3) for part in parts[:3]
        ], "they need no images"  # fmt: skip
        assert world.order("restart kubelet")[-4:] == ["worker-1: restart kubelet", *order[2::3]]
        assert set(world.etcd.kubelets.values()) == {AFTER}
        assert set(world.etcd.containers.values()) == {"0b"}

    def test_members_that_their_kubelet_leaves_as_they_are(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(etcd_upgrade, "_LOOKS", 0.02)
        world.etcd.stays = True
        world.run()
        assert set(world.etcd.kubelets.values()) == {AFTER}

    def test_one_that_does_not_come_back_ends_it(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(etcd_upgrade, "_SERVES", 0.05)
        world.etcd.lingers = 10**6
        with pytest.raises(KubedrillError, match="etcd on lab-etcd-1"):
            world.run()
        assert list(world.etcd.kubelets.values()) == [AFTER, BEFORE, BEFORE]
        assert world.there.upgrading == NEW

    def test_who_was_upgraded_is_counted(
        self, world: World, make: type[World], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for one, told in ((world, "2 nodes, 3 computers of etcd, API"), (made(make, 3, 1), "4 nodes, API")):
            monkeypatch.setattr(cluster, "lab", lambda _, one=one: one.place)
            upgrade_world.Api.world = one
            monkeypatch.setattr("kubedrill.images.build.cargo", lambda *_, one=one, **__: (None, one.cargo))
            operations.upgrade(Console(), NEW, "lab")
            assert f"lab has Kubernetes {AFTER} now: {told}" in capsys.readouterr().out


class TestRefused:
    @pytest.mark.parametrize("how", ["down", "gone"])
    def test_without_all_members_nothing_is_changed(
        self, world: World, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        monkeypatch.setattr(etcd_upgrade, "_HEALTHY", 0.05)
        if how == "down":
            world.etcd.down = {MEMBERS[1]}
        else:
            world.provider.node(MEMBERS[1]).remove()
        before = world.metadata()
        world.provider.events.clear()
        with pytest.raises(KubedrillError, match=r"not ready for an upgrade; nothing was changed(.|\n)*2 of 3"):
            world.run()
        assert world.metadata() == before
        assert [event for event in world.provider.events if event[0] in ("write", "send")] == []


class TestCutOff:
    def test_anywhere_it_is_taken_up_again(self, make: type[World], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(etcd_upgrade, "_LOOKS", 0.01)
        whole = made(make, 1, 0, "external")
        whole.run()
        cut = 0
        for number in range(1, whole.commands + 1):
            world = made(make, 1, 0, "external")
            world.fails_at = number
            try:
                world.run()
                continue  # what failed was asked again
            except KubedrillError:
                cut += BEFORE in world.etcd.kubelets.values() and AFTER in world.kubelets.values()
            world.run()
            assert set(world.etcd.kubelets.values()) == {AFTER}, number
            assert world.there.upgrading == ""
        assert cut > 5, "among the computers of etcd, too"

    def test_what_is_done_is_not_done_twice(self, world: World) -> None:
        world.run()
        for name in MEMBERS[:2]:
            assert etcd_upgrade.DONE.format(version=AFTER) in world.provider.node(name).disk
        world.provider.events.clear()
        computers = upgrade._Steps(world.there, Console(), "")._etcd
        computers.upgrade(AFTER, lambda _: None)
        assert world.order("restart kubelet") == []


@pytest.mark.parametrize(
    ("containers", "health", "passed", "ok"),
    [
        ("0a", ALL, 0, False),  # the new kubelet has not looked yet
        ("0a", ALL, 11, True),
        ("0a\n0b", ALL, 11, False),
        ("", ALL, 11, False),
        ("0b", ALL, 1, True),
        ("0b", ALL.partition("\n")[2], 1, False),
    ],
)
def test_when_a_member_is_settled(containers: str, health: str, passed: float, ok: bool) -> None:
    said = Result(0 if health == ALL else 1, f"{containers}\n{health}", "")
    assert settled(said, frozenset({"0a"}), 3, passed)[0] is ok
