"""Errors say what happened, the evidence, and what to do next."""

from __future__ import annotations

import inspect
import pickle

import pytest

from kubedrill import errors
from kubedrill.errors import CommandFailed, KubedrillError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize(
    ("evidence", "todo", "text"),
    [
        ([], [], "it broke"),
        (["a", "b"], [], "it broke\n    a\n    b"),
        ([], ["try c"], "it broke\n  -> try c"),
        (["a"], ["try c", "or d"], "it broke\n    a\n  -> try c\n  -> or d"),
    ],
)
def test_the_text_is_what_evidence_todo_in_this_order(evidence: list[str], todo: list[str], text: str) -> None:
    error = KubedrillError("it broke", evidence=evidence, todo=todo)
    assert str(error) == text
    assert (error.what, error.evidence, error.todo) == ("it broke", tuple(evidence), tuple(todo))


def test_later_changes_of_the_list_do_not_reach_the_error() -> None:
    evidence = ["a"]
    error = KubedrillError("it broke", evidence=evidence)
    evidence.append("b")
    assert error.evidence == ("a",)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_there_is_one_hierarchy_and_each_says_what_it_is_for(kind: type[Exception]) -> None:
    assert issubclass(kind, KubedrillError)
    assert kind.__doc__


def test_the_hierarchy_is_not_empty() -> None:
    assert {errors.Busy, errors.BrokenKubeconfig, errors.InvalidSpec, errors.TimedOut} <= set(ALL)


@pytest.mark.parametrize(("status", "ending"), [(3, "exit status 3"), (0, "exit status 0"), (None, "ran out of time")])
def test_a_failed_command_says_where_and_how_it_ended(status: int | None, ending: str) -> None:
    error = CommandFailed("kubeadm init", status, "line\n", "lab-worker-1", todo=["look there"])
    assert str(error) == f"a command failed on lab-worker-1 ({ending})\n    $ kubeadm init\n    line\n  -> look there"
    assert (error.command, error.status, error.output, error.where) == (
        "kubeadm init", status, "line\n", "lab-worker-1",
    )  # fmt: skip


def test_a_failed_command_shows_the_end_of_a_long_output_and_keeps_all_of_it() -> None:
    output = "\n".join(f"line {number}" for number in range(100)) + "\n\n"
    error = CommandFailed("x", 1, output, "this machine")
    assert error.evidence == ("$ x", *(f"line {number}" for number in range(85, 100)))
    assert error.output == output


def test_an_error_survives_a_pool_of_processes() -> None:
    error = pickle.loads(pickle.dumps(KubedrillError("it broke", evidence=["a"], todo=["b"])))
    assert str(error) == "it broke\n    a\n  -> b"
