"""Parts that end again and again: what they said, as real nodes told it (1.37.2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import crashes, shell
from kubedrill.crashes import Crash
from kubedrill.errors import KubedrillError
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.shell import Result

KUBELET = 'E1130 21:10:05.1 352 run.go:72] "command failed" err="failed to parse kubelet flag: unknown flag: --no"'
TEXT = f"""# kubelet 8
Flag --container-runtime-endpoint has been deprecated
{KUBELET}
# etcd 0
{{"level":"info","msg":"ready to serve client requests"}}
# kube-apiserver 3
Error: unknown flag: --nosuchflag
"""


def test_the_most_often_first_and_why() -> None:
    assert crashes.parse(TEXT) == [
        Crash("kubelet", 8, (KUBELET,)),
        Crash("kube-apiserver", 3, ("Error: unknown flag: --nosuchflag",)),
    ]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("flag provided but not defined: -nosuch\nUsage:\n\n  etcd [flags]", "flag provided but not defined: -nosuch"),
        ("panic: unrecognized feature gate: Nope\n\ngoroutine 1 [running]:", "panic: unrecognized feature gate: Nope"),
        ('{"level":"info"}\n{"level":"fatal","msg":"discovery failed"}', '{"level":"fatal","msg":"discovery failed"}'),
        ("F1130 21:10:05.1 1 main.go:5] no\ngoroutine 1", "F1130 21:10:05.1 1 main.go:5] no"),
    ],
)
def test_the_line_that_says_why(said: str, why: str) -> None:
    assert crashes.parse(f"# it 1\n{said}\n")[0].words == (why,)


def test_where_none_does_the_last_ones() -> None:
    assert crashes.parse("# it 1\na\nb\n\nc\n")[0].words == ("b", "c")


@pytest.mark.parametrize("text", ["", "# kubelet \n", "# kubelet 0\nI1130\n", "no such command\n"])
def test_where_all_is_well_or_nothing_is_told(text: str) -> None:
    assert crashes.parse(text) == []


@pytest.mark.parametrize(("times", "fails"), [(2, False), (3, True)])
def test_only_what_ends_again_and_again_is_given_up(times: int, fails: bool) -> None:
    def answer(_: FakeNode, call: Call) -> Result:
        assert list(call.argv) == crashes.LOOK
        return Result(0, f"# kube-apiserver {times}\nError: unknown flag: --no\n", "")

    provider = FakeProvider(script=answer)
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    node = provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.28.0.11", "image"))
    if not fails:
        crashes.need_none(node)
        return
    with pytest.raises(KubedrillError, match="ends again and again: it was started 4 times") as caught:
        crashes.need_none(node)
    assert caught.value.evidence == ("it said: Error: unknown flag: --no",)
    assert "lab-control-plane-1/pods/kube-system_kube-apiserver-*" in caught.value.todo[0]


def test_what_a_node_is_asked(tmp_path: Path) -> None:
    """The command itself, in a folder in place of /var/log/pods: eleven starts, of which the last two left logs."""
    folder = tmp_path / "kube-system_etcd-x_1" / "etcd"
    folder.mkdir(parents=True)
    for number, word in ((9, "first"), (10, "last")):
        (folder / f"{number}.log").write_text(f"2026-11-30T21:12:05.2Z stderr F Error: {word}\n")
    script = crashes.LOOK[2].replace("/var/log/pods", str(tmp_path))
    fakes = "systemctl() { echo 4; }; journalctl() { echo Started kubelet; echo panic: no; };"
    told = shell.run(["bash", "-c", f"{fakes} {script}"]).stdout
    assert crashes.parse(told) == [Crash("etcd", 10, ("Error: last",)), Crash("kubelet", 4, ("panic: no",))]
