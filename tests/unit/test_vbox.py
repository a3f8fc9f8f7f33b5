"""What VirtualBox is asked and told: held to its manual, as no VirtualBox is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers.hypervisor import Verb
from kubedrill.providers.vbox import VBox
from kubedrill.shell import Result

INFO = """name="kubedrill-x"
VMState="{}"
"SATA Controller-0-0"="/vms/x/box-disk001.vmdk"
"SATA Controller-1-0"="/s.vdi"
"""
UNKNOWN = Result(1, "", "VBoxManage: error: Could not find a registered machine named 'kubedrill-x'\n")


class Manage:
    """Answers VBoxManage; keeps what was asked."""

    def __init__(self, state: str = "running", failing: Result | None = None) -> None:
        self.state, self.failing, self.asked = state, failing, list[str]()

    def run(self, argv: list[str], **_: Any) -> Result:
        assert argv[:2] == ["VBoxManage", "--nologo"]
        self.asked.append(" ".join(argv[2:]))
        if self.failing is not None:
            return self.failing
        said = {"list": '"kubedrill-x" {0a}\n', "showvminfo": INFO.format(self.state)}
        return Result(0, said.get(argv[2], ""), "")


@pytest.mark.parametrize(
    ("said", "expected"),
    [("running", "running"), ("paused", "paused"), ("poweroff", "stopped"), ("aborted", "stopped")],
)
def test_states(said: str, expected: str) -> None:
    assert VBox(Manage(said).run).state("kubedrill-x") == expected


def test_a_state_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KubedrillError, match="'teleporting'"):
        VBox(Manage("teleporting").run).state("kubedrill-x")


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("start", "startvm kubedrill-x --type headless"),
        ("destroy", "controlvm kubedrill-x poweroff"),
        ("suspend", "controlvm kubedrill-x pause"),
        ("resume", "controlvm kubedrill-x resume"),
    ],
)
def test_verbs(verb: Verb, line: str) -> None:
    manage = Manage()
    VBox(manage.run).act(verb, "kubedrill-x")
    assert manage.asked == [line]
    with pytest.raises(NotFound):
        VBox(Manage(failing=UNKNOWN).run).act(verb, "kubedrill-x")


def test_a_refusal_tells_why() -> None:
    with pytest.raises(KubedrillError, match="VirtualBox refuses") as caught:
        VBox(Manage(failing=Result(1, "", "VBoxManage: error: Invalid machine state: PoweredOff\n")).run).act(
            "suspend", "x"
        )
    assert "PoweredOff" in str(caught.value)


def test_the_own_disk_is_the_first_one() -> None:
    assert VBox(Manage().run).disk("kubedrill-x") == Path("/vms/x/box-disk001.vmdk")


@pytest.mark.parametrize(("state", "switched_off"), [("running", True), ("poweroff", False)])
def test_removal(state: str, switched_off: bool) -> None:
    manage = Manage(state)
    VBox(manage.run).remove("kubedrill-x")
    assert ("controlvm kubedrill-x poweroff" in manage.asked) == switched_off
    assert manage.asked[-1] == "unregistervm kubedrill-x --delete"
    VBox(manage.run).remove("kubedrill-y")
    assert manage.asked[-1] == "list vms"
