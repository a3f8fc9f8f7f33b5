"""What any provider must do. One suite for all of them: see conftest.py."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from place import Place, booted
from tars import tar_names

from kubedrill import logs
from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.providers.base import File, NetworkSpec, Node, NodeSpec
from kubedrill.wait import until

ODD = ["", " ", "two words", "it's", '"quoted"', "$HOME `id` $(id)", "back\\slash", "a\nb", "; exit 7", "*", "-n", "é✓"]
# Long enough for the slowest call that does end, far less than the 30 s of the command that must be cut short.
LIMIT = 1.5


class TestNetwork:
    def test_what_is_kept_with_it_comes_back(self, place: Place) -> None:
        name = place.name("kept")
        metadata = {"spec": '{"name":"x","odd":"é\\n\'=,"}', "api-port": "6443", "empty": "", "lines": "a\nb"}
        given = NetworkSpec(str(place.subnet()), metadata)
        assert place.provider.network(name) is None
        place.provider.create_network(name, given)
        assert place.provider.network(name) == given

    def test_its_subnet_is_used_then(self, place: Place, home: str) -> None:
        found = place.provider.network(home)
        assert found is not None
        assert found.subnet in place.provider.used_subnets()

    def test_a_taken_subnet_is_refused(self, place: Place, home: str) -> None:
        found = place.provider.network(home)
        assert found is not None
        other = place.name("other")
        with pytest.raises(KubedrillError):
            place.provider.create_network(other, NetworkSpec(found.subnet, {}))
        assert place.provider.network(other) is None

    def test_a_second_one_is_refused(self, place: Place, home: str) -> None:
        before = place.provider.network(home)
        with pytest.raises(KubedrillError):
            place.provider.create_network(home, NetworkSpec(str(place.subnet()), {}))
        assert place.provider.network(home) == before

    def test_a_network_alone_makes_a_cluster(self, place: Place) -> None:
        name = place.cluster("alone")
        assert name in place.provider.clusters()
        assert list(place.provider.nodes(name)) == []


class TestRun:
    def test_streams_stay_apart(self, steady: Node) -> None:
        result = steady.run(["sh", "-c", "echo out; echo err >&2"])
        assert (result.status, result.stdout, result.stderr) == (0, "out\n", "err\n")

    def test_a_status_is_an_error(self, steady: Node) -> None:
        with pytest.raises(CommandFailed) as caught:
            steady.run(["sh", "-c", "echo out; echo 'what went wrong' >&2; exit 3"])
        error = caught.value
        assert (error.status, error.where) == (3, steady.name)
        assert "what went wrong" in error.output
        assert "out" in error.output
        assert steady.name in error.command
        assert "exit 3" in error.command

    def test_or_a_result_where_it_is_not_checked(self, steady: Node) -> None:
        result = steady.run(["sh", "-c", "echo err >&2; exit 3"], check=False)
        assert (result.status, result.stdout, result.stderr) == (3, "", "err\n")

    @pytest.mark.parametrize("text", ["", "a", "a\n", "$HOME 'x' \"y\"\n", "é✓\n", "line\n" * 200_000])
    def test_standard_input(self, steady: Node, text: str) -> None:
        assert steady.run(["cat"], stdin=text).stdout == text

    def test_without_standard_input_a_reader_ends(self, steady: Node) -> None:
        assert steady.run(["cat"], timeout=20).stdout == ""

    def test_standard_input_and_a_status(self, steady: Node) -> None:
        result = steady.run(["sh", "-c", "read line; echo $line >&2; exit 4"], stdin="hello\n", check=False)
        assert (result.status, result.stdout, result.stderr) == (4, "", "hello\n")

    @pytest.mark.parametrize("stdin", [None, "unread"])
    @pytest.mark.parametrize("timeout", [None, 30.0])
    def test_odd_characters_reach_the_program(self, steady: Node, stdin: str | None, timeout: float | None) -> None:
        result = steady.run(["printf", "<%s>", *ODD], stdin=stdin, timeout=timeout)
        assert result.stdout == "".join(f"<{word}>" for word in ODD)

    def test_output_that_is_no_text(self, steady: Node) -> None:
        assert steady.run(["printf", "a\\377b"]).stdout == "a\N{REPLACEMENT CHARACTER}b"

    @pytest.mark.parametrize("stdin", [None, "some"])
    @pytest.mark.parametrize("timeout", [None, 30.0])
    def test_an_unknown_program(self, steady: Node, stdin: str | None, timeout: float | None) -> None:
        with pytest.raises(CommandFailed) as caught:
            steady.run(["no-such-program", "-x"], stdin=stdin, timeout=timeout)
        assert caught.value.status in (126, 127)
        assert "no-such-program" in str(caught.value)

    @pytest.mark.parametrize("check", [True, False])
    def test_out_of_time(self, steady: Node, check: bool) -> None:
        with pytest.raises(CommandFailed) as caught:
            steady.run(["sh", "-c", "echo begun; exec sleep 30"], timeout=LIMIT, check=check)
        assert caught.value.status is None
        assert "begun" in caught.value.output
        assert "ran out of time" in str(caught.value)

    @pytest.mark.parametrize("status", [124, 137])
    def test_a_status_like_that_of_a_timeout_is_none(self, steady: Node, status: int) -> None:
        assert steady.run(["sh", "-c", f"exit {status}"], check=False, timeout=30).status == status


class TestFiles:
    def test_modes_and_folders(self, steady: Node) -> None:
        files = {"/etc/contract/a/b/secret": 0o600, "/etc/contract/open": 0o644, "/opt/contract/program": 0o755}
        steady.write([File(path, f"in {path} é\n", mode) for path, mode in files.items()])
        for path, mode in files.items():
            assert steady.run(["cat", path]).stdout == f"in {path} é\n"
            assert steady.run(["stat", "-c", "%a %U %G", path]).stdout == f"{mode:o} root root\n"

    def test_new_folders_belong_to_root_alone(self, steady: Node) -> None:
        steady.write([File("/etc/contract-folder/below/file", "x", 0o600)])
        for folder in ("/etc/contract-folder", "/etc/contract-folder/below"):
            mode, *owner = steady.run(["stat", "-c", "%a %U %G", folder]).stdout.split()
            assert owner == ["root", "root"]
            assert int(mode, 8) & 0o022 == 0, f"{folder} can be written by others ({mode})"

    def test_a_file_is_replaced(self, steady: Node) -> None:
        steady.write([File("/etc/contract-again", "a long first text", 0o600)])
        steady.write([File("/etc/contract-again", "short")])
        assert steady.run(["cat", "/etc/contract-again"]).stdout == "short"

    def test_known_folders_keep_their_modes(self, steady: Node) -> None:
        before = steady.run(["stat", "-c", "%a %U", "/var/lib"]).stdout
        steady.write([File("/var/lib/contract-mode", "x")])
        assert steady.run(["stat", "-c", "%a %U", "/var/lib"]).stdout == before

    @pytest.mark.parametrize("size", [0, 1, 512, 8 * 2**20 + 17])
    def test_sending_a_file(self, steady: Node, tmp_path: Path, size: int) -> None:
        content = random.Random(size).randbytes(size)
        (tmp_path / "source").write_bytes(content)
        target = f"/var/lib/contract-sent/{size}.bin"
        steady.send(tmp_path / "source", target)
        assert steady.run(["sha256sum", target]).stdout.split()[0] == hashlib.sha256(content).hexdigest()

    def test_sending_to_a_long_path(self, steady: Node, tmp_path: Path) -> None:
        (tmp_path / "source").write_text("far")
        target = "/var/lib/" + "/".join(["folder" * 5] * 6) + "/file"
        steady.send(tmp_path / "source", target)
        assert steady.run(["cat", target]).stdout == "far"

    def test_a_tree_and_a_file_of_it(self, steady: Node) -> None:
        steady.write([File("/var/lib/contract-tree/one", "1"), File("/var/lib/contract-tree/deep/two", "2")])
        names = tar_names(steady.read_tree("/var/lib/contract-tree"))
        assert {"contract-tree/one", "contract-tree/deep/two"} <= set(names)
        assert logs.text_of(steady.read_tree("/var/lib/contract-tree/deep/two")) == "2"

    def test_a_path_that_is_not_there(self, steady: Node) -> None:
        with pytest.raises(NotFound):
            steady.read_tree("/var/lib/contract-nothing")


class TestNode:
    def test_it_is_what_was_asked_for(self, place: Place, home: str, steady: Node) -> None:
        spec = place.spec(home, "load-balancer", 1)
        assert (steady.name, steady.role, steady.address) == (spec.name, spec.role, spec.address)
        assert steady.run(["hostname"]).stdout.strip() == spec.name
        assert steady.run(["hostname", "-I"]).stdout.split() == [spec.address]

    def test_it_is_found_again(self, place: Place, home: str, steady: Node) -> None:
        found = {node.name: node for node in place.provider.nodes(home)}[steady.name]
        assert (found.role, found.address, found.state()) == (steady.role, steady.address, "running")

    def test_a_terminal(self, steady: Node) -> None:
        """The command comes last, as words of its own or as the one that ssh sends; before it, who runs it."""
        who, _, what = " ".join(steady.shell_argv(["bash", "-l"])).rpartition("bash -l")
        assert what == ""
        assert steady.name in who or steady.address in who

    def test_a_second_one_of_that_name_is_refused(self, place: Place, home: str, steady: Node) -> None:
        """It has an address of its own, so that the name alone can be what is refused."""
        victim = place.node(home, 9)
        victim.write([File("/var/lib/contract-first", "mine")])
        spec = place.spec(home, "load-balancer", 8)
        with pytest.raises(KubedrillError):
            place.provider.create_node(home, NodeSpec(victim.name, spec.role, spec.address, spec.image))
        assert victim.state() == "running"
        assert victim.run(["cat", "/var/lib/contract-first"]).stdout == "mine"
        victim.remove()

    @pytest.mark.parametrize("address", ["another's", "of no subnet here"])
    def test_one_that_cannot_be_leaves_nothing(self, place: Place, home: str, steady: Node, address: str) -> None:
        spec = place.spec(home, "load-balancer", 7)
        wrong = steady.address if address == "another's" else "192.0.2.7"
        with pytest.raises(KubedrillError) as caught:
            place.provider.create_node(home, NodeSpec(spec.name, spec.role, wrong, spec.image))
        assert spec.name in str(caught.value)
        assert spec.name not in [node.name for node in place.provider.nodes(home)]
        assert steady.state() == "running"
        place.provider.create_node(home, spec).remove()  # the name is free

    def test_one_without_a_network(self, place: Place, home: str) -> None:
        spec = place.spec(home, "load-balancer", 6)
        nowhere = place.name("nowhere")
        with pytest.raises(KubedrillError):
            place.provider.create_node(nowhere, NodeSpec(f"{nowhere}-worker-1", "worker", spec.address, spec.image))
        assert nowhere not in place.provider.clusters()


class TestStates:
    @pytest.mark.parametrize("end", ["stop", "kill"])
    def test_down_and_up_again(self, subject: Node, end: str) -> None:
        mark = f"the journal before {end}"
        subject.write([File(f"/var/lib/contract-{end}", "kept", 0o600), File(f"/etc/contract-{end}", "kept too")])
        subject.run(["logger", "--tag", "contract", mark])
        until(subject.journal, lambda text: (mark in text, text[-200:]), within=20, what="the mark in the journal")

        getattr(subject, end)()
        assert subject.state() == "stopped"
        self.check_that_it_does_not_run(subject)
        assert mark in subject.journal()
        assert subject.console().strip()
        assert logs.text_of(subject.read_tree(f"/var/lib/contract-{end}")) == "kept"
        assert logs.text_of(subject.read_tree(f"/etc/contract-{end}")) == "kept too"
        with pytest.raises(NotFound):
            subject.read_tree("/var/lib/contract-nothing")

        subject.start()
        assert subject.state() == "running"
        booted(subject)
        assert subject.run(["cat", f"/var/lib/contract-{end}"]).stdout == "kept"
        assert subject.run(["stat", "-c", "%a %U %G", f"/var/lib/contract-{end}"]).stdout == "600 root root\n"
        assert subject.run(["cat", f"/etc/contract-{end}"]).stdout == "kept too"
        assert subject.run(["hostname", "-I"]).stdout.split() == [subject.address]
        assert mark in subject.journal()

    def check_that_it_does_not_run(self, subject: Node) -> None:
        for stdin in (None, "a secret"):
            with pytest.raises(NotFound) as caught:
                subject.run(["cat"], stdin=stdin)
            assert subject.name in str(caught.value)

    def test_what_a_stopped_node_was_told_is_not_kept(self, subject: Node) -> None:
        subject.write([File("/var/lib/kubedrill/contract", "")])
        before = tar_names(subject.read_tree("/var/lib/kubedrill"))
        subject.stop()
        with pytest.raises(NotFound):
            subject.run(["cat"], stdin="a secret")
        after = tar_names(subject.read_tree("/var/lib/kubedrill"))
        subject.start()
        booted(subject)
        assert after == before

    def test_stopping_and_starting_twice_is_harmless(self, subject: Node) -> None:
        subject.stop()
        subject.stop()
        assert subject.state() == "stopped"
        subject.start()
        subject.start()
        assert subject.state() == "running"
        booted(subject)

    def test_pausing(self, subject: Node) -> None:
        subject.pause()
        assert subject.state() == "paused"
        with pytest.raises(KubedrillError):
            subject.run(["true"])
        with pytest.raises(KubedrillError):
            subject.start()
        subject.resume()
        assert subject.state() == "running"
        assert subject.run(["hostname"]).stdout.strip() == subject.name

    @pytest.mark.parametrize("wrong", ["resume", "pause"])
    def test_a_state_that_does_not_fit_is_an_error(self, subject: Node, wrong: str) -> None:
        if wrong == "pause":
            subject.stop()
        with pytest.raises(KubedrillError):
            getattr(subject, wrong)()
        if wrong == "pause":
            assert subject.state() == "stopped"
            subject.start()
            booted(subject)
        assert subject.state() == "running"

    def test_a_paused_node_can_be_killed(self, subject: Node) -> None:
        subject.pause()
        subject.kill()
        assert subject.state() == "stopped"
        subject.start()
        assert subject.state() == "running"
        booted(subject)


GONE: dict[str, Callable[[Node], object]] = {
    "state": lambda node: node.state(),
    "run": lambda node: node.run(["true"]),
    "write": lambda node: node.write([File("/etc/x", "x")]),
    "read_tree": lambda node: node.read_tree("/etc"),
    "journal": lambda node: node.journal(),
    "console": lambda node: node.console(),
    "stop": lambda node: node.stop(),
    "start": lambda node: node.start(),
    "kill": lambda node: node.kill(),
    "pause": lambda node: node.pause(),
}


class TestRemoval:
    def test_twice_is_harmless_and_the_disk_goes_too(self, place: Place, home: str) -> None:
        node = place.node(home, 5)
        node.write([File("/var/lib/contract-disk", "old")])
        node.remove()
        node.remove()
        assert node.name not in [found.name for found in place.provider.nodes(home)]
        again = place.node(home, 5)
        assert again.run(["test", "-e", "/var/lib/contract-disk"], check=False).status == 1
        again.pause()
        again.remove()  # whatever its state
        assert node.name not in [found.name for found in place.provider.nodes(home)]

    @pytest.mark.parametrize("action", GONE)
    def test_a_node_that_is_gone_is_not_found(self, gone: Node, action: str) -> None:
        with pytest.raises(NotFound):
            GONE[action](gone)

    def test_two_clusters_do_not_see_each_other(self, place: Place, home: str, steady: Node) -> None:
        """Nodes are made out of order; one cluster is removed, the other is as it was."""
        here, there = place.cluster("here"), place.cluster("here-2")
        wanted = [("load-balancer", 1), ("control-plane", 1), ("worker", 2), ("worker", 10)]
        for role, number in reversed(wanted):
            place.provider.create_node(here, place.spec(here, role, number))  # type: ignore[arg-type]
        neighbour = place.provider.create_node(there, place.spec(there, "load-balancer", 1))

        names = [f"{here}-{role}-{number}" for role, number in wanted]
        assert [node.name for node in place.provider.nodes(here)] == names
        assert [node.role for node in place.provider.nodes(here)] == [role for role, _ in wanted]
        assert [node.name for node in place.provider.nodes(there)] == [neighbour.name]
        assert {home, here, there} <= set(place.provider.clusters())

        place.provider.nodes(here)[1].kill()  # one that does not run is removed too
        said = "\n".join(place.provider.remove_cluster(here))
        for name in [*names, "network"]:
            assert name in said
        assert neighbour.name not in said
        assert here not in place.provider.clusters()
        assert place.provider.network(here) is None
        assert list(place.provider.nodes(here)) == []
        assert neighbour.state() == steady.state() == "running"
        assert place.provider.network(there) is not None

        assert list(place.provider.remove_cluster(here)) == []

    def test_nothing_is_found_of_a_cluster_that_never_was(self, place: Place) -> None:
        name = place.name("never")
        assert place.provider.network(name) is None
        assert list(place.provider.nodes(name)) == []
        assert list(place.provider.remove_cluster(name)) == []
        assert name not in place.provider.clusters()
