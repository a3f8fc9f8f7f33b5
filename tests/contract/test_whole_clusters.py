"""What any provider must do with a whole cluster: stop and start it, pause it, keep it and put it back."""

from __future__ import annotations

import pytest
from place import Place, booted

from kubedrill import lifecycle, logs
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers.base import Changeable, File, Keeper, NetworkSpec, Node
from kubedrill.spec import ClusterSpec

ETC, VAR, NEW = "/etc/contract/kept", "/var/lib/contract/kept", "/etc/contract/new"


class Home:
    """A cluster of a balancer and two more nodes; the lightest nodes there are, whatever their role is."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.name = place.cluster("whole")
        for role, number in (("load-balancer", 1), ("control-plane", 1), ("worker", 1)):
            spec = place.spec(self.name, role, number)  # type: ignore[arg-type]
            place.provider.create_node(self.name, spec)
        self.booted()

    @property
    def nodes(self) -> list[Node]:
        """As they are now."""
        return list(self.place.provider.nodes(self.name))

    @property
    def cluster(self) -> Cluster:
        """The handle: the balancer counts as the second of two nodes of its spec."""
        return Cluster(ClusterSpec(name=self.name, control_planes=1, workers=1), tuple(self.nodes), 1)

    @property
    def keeper(self) -> Keeper:
        """Its provider, which can keep checkpoints."""
        if not isinstance(self.place.provider, Keeper):
            pytest.skip(f"{self.place.kind}: keeps no checkpoints")
        return self.place.provider

    def booted(self) -> None:
        """Wait until all can be shut down in order."""
        for node in self.nodes:
            booted(node)

    def stopped(self) -> None:
        """Stop what runs."""
        for node in self.nodes:
            node.stop()

    def states(self) -> set[str]:
        """The states there are."""
        return {node.state() for node in self.nodes}

    def write(self, text: str) -> None:
        """The same on each node's own files and its disk."""
        for node in self.nodes:
            node.write([File(ETC, f"{text} {node.name}", 0o600), File(VAR, f"{text} {node.name}", 0o640)])

    def read(self) -> set[str]:
        """What of that is there, without the nodes' names."""
        return {
            logs.text_of(node.read_tree(path)).replace(f" {node.name}", "")
            for node in self.nodes for path in (ETC, VAR)
        }  # fmt: skip


@pytest.fixture(scope="module")
def whole(place: Place) -> Home:
    """A cluster that goes up and down as one."""
    return Home(place)


class TestOffAndOn:
    def test_stop_and_start(self, whole: Home) -> None:
        whole.write("before")
        addresses = [node.address for node in whole.nodes]
        assert lifecycle.stop(whole.cluster, Console())
        assert whole.states() == {"stopped"}
        assert not lifecycle.stop(whole.cluster, Console()), "there is nothing to do"
        with pytest.raises(KubedrillError, match=f"invoke start --name {whole.name}"):
            lifecycle.need_running(whole.cluster)
        assert lifecycle.start(whole.cluster, Console())
        assert whole.states() == {"running"}
        lifecycle.need_running(whole.cluster)
        whole.booted()
        assert whole.read() == {"before"}
        assert [node.run(["hostname", "-I"]).stdout.strip() for node in whole.nodes] == addresses

    def test_pause_and_resume(self, whole: Home) -> None:
        assert lifecycle.pause(whole.cluster, Console())
        assert whole.states() == {"paused"}
        assert not lifecycle.pause(whole.cluster, Console())
        with pytest.raises(KubedrillError, match=f"invoke resume --name {whole.name}"):
            lifecycle.need_running(whole.cluster)
        assert lifecycle.resume(whole.cluster, Console())
        assert whole.states() == {"running"}
        assert not lifecycle.resume(whole.cluster, Console())

    def test_a_paused_cluster_is_stopped_and_started_from_any_state(self, whole: Home) -> None:
        lifecycle.pause(whole.cluster, Console())
        assert lifecycle.stop(whole.cluster, Console())
        assert whole.states() == {"stopped"}
        whole.nodes[0].start()
        booted(whole.nodes[0])
        whole.nodes[0].pause()
        assert lifecycle.start(whole.cluster, Console())
        assert whole.states() == {"running"}
        whole.booted()


class TestChange:
    def test_other_metadata_from_now_on(self, place: Place) -> None:
        if not isinstance(place.provider, Changeable):
            pytest.skip(f"{place.kind}: clusters keep their size")
        name = place.cluster("changed")
        before = place.provider.network(name)
        assert before is not None
        for metadata in ({"spec": "two", "odd": "é\n'=,"}, {"spec": "three"}, {"spec": "three"}, dict(before.metadata)):
            place.provider.change(name, metadata)
            assert place.provider.network(name) == NetworkSpec(before.subnet, metadata)
        place.provider.remove_cluster(name)
        assert name not in place.provider.clusters()
        with pytest.raises(NotFound):
            place.provider.change(name, {"spec": "four"})


class TestCheckpoints:
    @pytest.fixture(autouse=True)
    def _clean(self, whole: Home) -> None:
        for one in whole.keeper.saved(whole.name):
            assert whole.keeper.forget(whole.name, one.name)

    def test_only_what_stands_still_is_kept(self, whole: Home) -> None:
        with pytest.raises(KubedrillError):
            whole.keeper.save(whole.name, "moving")
        assert list(whole.keeper.saved(whole.name)) == []
        assert whole.states() == {"running"}

    def test_all_comes_back_as_it_was(self, whole: Home) -> None:
        whole.write("first")
        whole.stopped()
        kept = whole.keeper.save(whole.name, "first")
        assert kept.nodes == tuple(sorted(node.name for node in whole.nodes))
        assert whole.states() == {"stopped"}, "as it was"
        assert list(whole.keeper.saved(whole.name)) == [kept]
        lifecycle.start(whole.cluster, Console())
        whole.booted()

        balancer, plane, worker = whole.nodes
        provider = whole.place.provider
        metadata = provider.network(whole.name)
        assert isinstance(provider, Changeable)
        provider.change(whole.name, {"spec": "another"})
        whole.write("later")
        balancer.write([File(NEW, "new")])
        worker.remove()
        provider.create_node(whole.name, whole.place.spec(whole.name, "worker", 2))
        plane.pause()

        for _ in range(2):  # the checkpoint is only read
            whole.keeper.put_back(whole.name, "first")
            assert [node.name for node in whole.nodes] == [balancer.name, plane.name, worker.name]
            assert [node.address for node in whole.nodes] == [balancer.address, plane.address, worker.address]
            assert whole.states() == {"stopped"}
            assert whole.read() == {"first"}
            assert provider.network(whole.name) == metadata
            with pytest.raises(NotFound):
                whole.nodes[0].read_tree(NEW)
            lifecycle.start(whole.cluster, Console())
            whole.booted()
            assert whole.read() == {"first"}
            for node in whole.nodes:
                assert node.run(["stat", "-c", "%a %U %G", ETC]).stdout == "600 root root\n"
                assert node.run(["stat", "-c", "%a %U %G", VAR]).stdout == "640 root root\n"
                assert node.run(["hostname", "-I"]).stdout.split() == [node.address]
        assert list(whole.keeper.saved(whole.name)) == [kept]

    def test_several_are_apart_and_the_one_in_use_can_go(self, whole: Home) -> None:
        for text in ("one", "two"):
            whole.write(text)
            whole.stopped()
            whole.keeper.save(whole.name, text)
            whole.keeper.put_back(whole.name, text)  # the next one is made of a cluster that was put back
            lifecycle.start(whole.cluster, Console())
            whole.booted()
        assert [one.name for one in whole.keeper.saved(whole.name)] == ["one", "two"]
        whole.keeper.put_back(whole.name, "one")
        assert whole.read() == {"one"}
        lifecycle.start(whole.cluster, Console())
        whole.booted()
        assert whole.keeper.forget(whole.name, "one"), "its nodes run"
        assert [one.name for one in whole.keeper.saved(whole.name)] == ["two"]
        assert whole.states() == {"running"}
        assert whole.read() == {"one"}
        whole.keeper.put_back(whole.name, "two")
        assert whole.read() == {"two"}
        lifecycle.start(whole.cluster, Console())
        whole.booted()

    def test_a_name_is_given_once(self, whole: Home) -> None:
        whole.write("mine")
        whole.stopped()
        first = whole.keeper.save(whole.name, "mine")
        whole.write("other")
        with pytest.raises(KubedrillError):
            whole.keeper.save(whole.name, "mine")
        assert list(whole.keeper.saved(whole.name)) == [first]
        whole.keeper.put_back(whole.name, "mine")
        assert whole.read() == {"mine"}
        lifecycle.start(whole.cluster, Console())
        whole.booted()

    def test_one_that_is_not_there(self, whole: Home) -> None:
        with pytest.raises(NotFound):
            whole.keeper.put_back(whole.name, "nothing")
        assert whole.states() == {"running"}
        assert not whole.keeper.forget(whole.name, "nothing")

    def test_clusters_whose_names_run_together_do_not_share_them(self, place: Place, whole: Home) -> None:
        """'a' with the checkpoint 'b-c', and 'a-b' with 'c'."""
        other = place.cluster("whole-b")
        spec = place.spec(other, "load-balancer", 1)
        made = place.provider.create_node(other, spec)
        booted(made)
        made.stop()
        whole.stopped()
        whole.keeper.save(whole.name, "b-c")
        whole.keeper.save(other, "c")
        assert [one.name for one in whole.keeper.saved(other)] == ["c"]
        assert whole.keeper.forget(other, "c")
        assert [one.name for one in whole.keeper.saved(whole.name)] == ["b-c"]
        place.provider.remove_cluster(other)
        whole.keeper.put_back(whole.name, "b-c")
        assert len(whole.nodes) == 3

    def test_they_go_with_their_cluster(self, place: Place, whole: Home) -> None:
        lifecycle.stop(whole.cluster, Console())
        whole.keeper.save(whole.name, "last")
        whole.keeper.put_back(whole.name, "last")
        place.provider.remove_cluster(whole.name)
        assert list(whole.keeper.saved(whole.name)) == []
        assert whole.name not in place.provider.clusters()
