"""An upgrade: what is refused, the order of its steps, and that one which was cut off anywhere is taken up again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import upgrade_world
from upgrade_world import AFTER, BEFORE, NEW, OLD, PROXY, SERVER, World, made

from kubedrill import cluster, kept, scaling, status, there, upgrade
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.marks import UPGRADING

make = upgrade_world.make  # a fixture


@pytest.mark.parametrize(("there", "to", "minor"), [("v1.36.5", "1.37", "1.37"), ("v1.36.4", "1.36", "1.36"),
                                                    ("v1.36.5", f"v{AFTER.removeprefix('v')}", "1.37")])  # fmt: skip
def test_the_next_minor_is_aimed_at(there: str, to: str, minor: str) -> None:
    assert upgrade.aim(there, to) == minor


@pytest.mark.parametrize(
    ("there", "to", "why"),
    [
        ("v1.36.5", "1.38", r"more than one minor version(.|\n)*first: invoke upgrade --to 1.37"),
        ("v1.35.1", "1.37", r"more than one minor version(.|\n)*first: invoke upgrade --to 1.36"),
        ("v1.37.2", "1.36", "no way back to 1.36"),
        ("v1.37.2", "1.38", "not known here"),
        ("v1.36.5", "1.37.99", "not known here"),
        ("v1.36.5", "newest", "no Kubernetes version"),
    ],
)
def test_others_are_refused(there: str, to: str, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why):
        upgrade.aim(there, to)


class TestRefused:
    """Before anything is changed."""

    @pytest.mark.parametrize(
        ("what", "to", "why"),
        [
            ("", "1.38", "more than one minor version"),
            ("", "1.35", "no way back"),
            ("stopped", NEW, "invoke start"),
            ("unready", NEW, "not ready for an upgrade"),
            ("bare", NEW, "a-bare-pod"),
        ],
    )
    def test_it_changes_nothing(self, make: type[World], what: str, to: str, why: str) -> None:
        world = made(make, 1, 2)
        if what == "stopped":
            world.provider.node("lab-worker-1").stop()
        if what == "unready":
            world.unready = {"lab-worker-2"}
        if what == "bare":
            world.bare = "a-bare-pod"
        before = world.metadata()
        world.provider.events.clear()
        with pytest.raises(KubedrillError, match=why):
            world.run(to)
        assert world.metadata() == before
        assert [event for event in world.provider.events if event[0] in ("write", "send")] == []
        assert world.order("kubeadm", "kubectl drain") == (["control-plane-1: kubectl drain"] if what == "bare" else [])

    def test_what_is_there_already(self, make: type[World]) -> None:
        world = made(make, 1, 1)
        assert world.run(OLD).spec == world.spec
        assert world.provider.events == []


class TestOrder:
    PARTS = ("kubeadm upgrade plan", "kubeadm upgrade apply", "kubeadm upgrade node", "state drain", "state ready",
             "kubectl drain lab-control-plane-1 --ignore-daemonsets --delete-emptydir-data --timeout",
             "restart kubelet", "kubectl uncordon", "rollout status daemonset kube-proxy")  # fmt: skip

    def test_one_control_plane_and_a_worker(self, make: type[World]) -> None:
        world = made(make, 1, 1)
        upgraded = world.run()
        first, worker = "control-plane-1", "worker-1"
        assert world.order("kubeadm upgrade", "restart kubelet", "kubectl drain", "kubectl uncordon",
                           "rollout status daemonset kube-proxy", "/usr/bin/.kubelet-", "mv -f /usr/bin/.kubeadm-",
                           "create poddisruptionbudget", "delete poddisruptionbudget") == [
            f"{first}: kubectl drain", f"{first}: kubectl drain",  # whether they could be
            f"{first}: mv -f /usr/bin/.kubeadm-", f"{worker}: mv -f /usr/bin/.kubeadm-",
            f"{first}: create poddisruptionbudget",
            f"{first}: kubeadm upgrade", f"{first}: kubeadm upgrade", f"{first}: rollout status daemonset kube-proxy",
            f"{first}: kubectl drain", f"{first}: /usr/bin/.kubelet-", f"{first}: /usr/bin/.kubelet-",
            f"{first}: restart kubelet", f"{first}: kubectl uncordon",
            f"{worker}: kubeadm upgrade",
            f"{first}: kubectl drain", f"{worker}: /usr/bin/.kubelet-", f"{worker}: /usr/bin/.kubelet-",
            f"{worker}: restart kubelet", f"{first}: kubectl uncordon",
            f"{first}: delete poddisruptionbudget",
        ]  # fmt: skip
        assert upgraded.spec.kubernetes == NEW
        assert world.metadata() == {
            "spec": upgraded.spec.to_json(),
            "api-port": "6443",
            "version": AFTER,
            "own": "kept",
        }

    def test_control_planes_are_out_of_the_balancer_one_after_another(self, make: type[World]) -> None:
        world = made(make, 3, 1)
        world.run()
        order = world.order("state drain", "state ready", "upgrade apply", "upgrade node", "rollout status daemonset")
        balancer = "load-balancer"
        ready, out = f"{balancer}: state ready", f"{balancer}: state drain"
        assert order == [
            ready, ready, ready,
            out, "control-plane-1: upgrade apply", ready,
            out, "control-plane-2: upgrade node", ready,
            out, "control-plane-3: upgrade node", "control-plane-1: rollout status daemonset", ready,
            "worker-1: upgrade node",
        ]  # fmt: skip

    def test_the_only_node_is_not_drained(self, make: type[World]) -> None:
        world = made(make, 1, 0)
        world.run()
        assert world.order("kubectl drain", "poddisruptionbudget", "restart kubelet") == [
            "control-plane-1: restart kubelet"
        ]

    def test_images_go_where_they_are_needed_and_lacking(self, make: type[World]) -> None:
        world = made(make, 1, 2)
        world.images = {"lab-worker-2": {PROXY}}
        world.run()
        assert world.order("images import") == ["control-plane-1: images import"] * 2 + ["worker-1: images import"]

    def test_images_that_are_not_made_here_are_pulled(self, make: type[World]) -> None:
        world = made(make, 1, 1)
        world.cargo = replace(world.cargo, images={}, pulled=(PROXY, SERVER))
        world.run()
        assert world.images == {"lab-control-plane-1": {PROXY, SERVER}, "lab-worker-1": {PROXY}}

    def test_pods_may_stay(self, make: type[World]) -> None:
        world = made(make, 1, 1)
        upgrade.upgrade(world.place, world.there, NEW, Console(), stay="app!=probe")
        assert len(world.order("--pod-selector=app!=probe")) == 4

    def test_a_node_that_was_cordoned_stays_so(self, make: type[World]) -> None:
        world = made(make, 1, 2)
        world.closed = {"lab-worker-1"}
        world.run()
        assert world.closed == {"lab-worker-1"}
        assert world.order("kubectl uncordon lab-worker-1") == []


class TestCutOff:
    def test_anywhere_it_is_taken_up_again(self, make: type[World]) -> None:
        whole = made(make, 3, 1)
        whole.run()
        last = 0
        for number in range(1, whole.commands + 1):
            world = made(make, 3, 1)
            world.fails_at = number
            try:
                world.run()
                continue  # what failed was asked again
            except KubedrillError:
                last = number
            half = world.metadata()
            assert half["version"] == BEFORE
            again = UPGRADING in half
            assert world.there.upgrading == (NEW if again else "")
            applied = len(world.order("kubeadm upgrade apply"))
            world.run()
            assert set(world.kubelets.values()) == {AFTER}, number
            assert world.closed == set(), number
            assert world.out == [], f"{number}: a control plane is left out of the balancer"
            assert world.there.upgrading == ""
            assert world.metadata()["version"] == AFTER
            assert len(world.order("kubeadm upgrade apply")) <= applied + 1
            assert all(upgrade.CORDONED not in world.provider.node(name).disk for name in world.kubelets)
        assert last > 40, "most commands cut it off"

    def test_what_is_done_is_not_done_twice(self, make: type[World]) -> None:
        world = made(make, 3, 1)

        def gone(_node: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            upgrade.upgrade(world.place, world.there, NEW, Console(), done=gone)
        assert world.order("kubeadm upgrade apply", "kubeadm upgrade node") == [
            "control-plane-1: kubeadm upgrade apply"
        ]
        world.provider.events.clear()
        done: list[str] = []
        upgrade.upgrade(world.place, world.there, NEW, Console(), done=lambda node: done.append(node.name))
        assert world.order("kubeadm upgrade apply", "restart kubelet", "lab-control-plane-1 --ignore") == [
            "control-plane-1: lab-control-plane-1 --ignore",  # whether it could be drained
            "control-plane-2: restart kubelet", "control-plane-3: restart kubelet", "worker-1: restart kubelet",
        ]  # fmt: skip
        assert done == list(world.kubelets)

    def test_a_kubeadm_that_it_left_ends_first(
        self, make: type[World], capsys: pytest.CaptureFixture[str]
    ) -> None:  # fmt: skip
        """Docker does not end what runs in a node when the one who began it is killed."""
        world = made(make, 3, 1)
        world.run_cut_off()
        world.left = {"lab-control-plane-1": 3}
        world.provider.events.clear()
        world.run()
        order = world.order("pgrep", "kubeadm upgrade")
        nodes = ["control-plane-1"] * 4 + ["control-plane-2", "control-plane-3", "worker-1"]
        assert order[:8] == [*(f"{node}: pgrep" for node in nodes), "control-plane-1: kubeadm upgrade"]
        said = capsys.readouterr().out
        assert "lab-control-plane-1: kubeadm still runs there, of a run that was cut off: 412 kubeadm upgrade" in said
        assert "lab-control-plane-2: kubeadm still runs" not in said

    def test_one_that_does_not_end_is_told_and_nothing_changed(
        self, make: type[World], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upgrade, "_KUBEADM", 0.02)
        monkeypatch.setattr(upgrade, "_ENDS", 0.02)
        world = made(make, 1, 1)
        world.run_cut_off()
        world.left = {"lab-worker-1": 10**6}
        world.provider.events.clear()
        with pytest.raises(KubedrillError) as caught:
            world.run()
        assert "still runs in lab-worker-1; nothing was changed" in caught.value.what
        assert caught.value.evidence == ("last seen: 412 kubeadm upgrade apply --yes",)
        assert caught.value.todo == (
            "wait until it ends, or end it: invoke exec lab-worker-1 'pkill -x kubeadm' --name lab",
            f"then go on: invoke upgrade --to {NEW} --name lab",
        )
        assert [event for event in world.provider.events if event[0] in ("write", "send")] == []
        assert world.order("kubeadm upgrade", "kubectl") == []

    def test_a_first_upgrade_looks_for_none(self, make: type[World]) -> None:
        world = made(make, 1, 1)
        world.run()
        assert world.order("pgrep") == []

    def test_half_of_it_is_known(self, make: type[World]) -> None:
        world = made(make, 1, 2)
        kept.change(world.provider, "lab", {**world.metadata(), UPGRADING: NEW})
        seen = status.of(world.there)
        assert not seen.healthy
        assert f"on its way to {NEW} (go on: invoke upgrade --to {NEW} --name lab)" in seen.kubernetes
        with pytest.raises(KubedrillError, match="invoke upgrade --to"):
            scaling.add(world.place, world.there, Console())
        with pytest.raises(KubedrillError, match="invoke upgrade --to"):
            scaling.remove(world.provider, world.there, "lab-worker-2", Console())
        with pytest.raises(KubedrillError, match="invoke upgrade --to"):
            world.run(OLD)

    def test_up_makes_no_node_of_another_version(self, make: type[World], monkeypatch: pytest.MonkeyPatch) -> None:
        world = made(make, 1, 1)
        for name in world.kubelets:
            world.provider.node(name).write([])
        kept.change(world.provider, "lab", {**world.metadata(), UPGRADING: NEW})
        found = (False, {"lab-control-plane-1": world.provider.node("lab-control-plane-1")})
        monkeypatch.setattr(there, "found", lambda *_: found)
        monkeypatch.setattr(cluster, "what_of", lambda *_, **__: None)
        with pytest.raises(KubedrillError, match="invoke upgrade --to"):
            cluster.up(world.place, world.spec, Console(), merge=False)
