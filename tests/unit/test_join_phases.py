"""`kubeadm join` of a control plane in parts: each phase is done once."""

from __future__ import annotations

from collections import Counter

from kubedrill import join_phases

# `kubeadm join --help` of v1.37.2 and v1.36.5 lists these.
PHASES = {
    "preflight", "control-plane-prepare/download-certs", "control-plane-prepare/certs",
    "control-plane-prepare/kubeconfig", "control-plane-prepare/control-plane", "check-etcd", "kubelet-start",
    "etcd-join", "kubelet-wait-bootstrap", "control-plane-join", "wait-control-plane",
}  # fmt: skip


def done(command: list[str]) -> set[str]:
    """The phases that a command does."""
    left_out = command[-1].removeprefix("--skip-phases=").split(",")
    assert set(left_out) < PHASES
    return PHASES - set(left_out)


def test_each_phase_is_done_once() -> None:
    parts = [join_phases.AT_ONCE, join_phases.ETCD, join_phases.AT_LAST]
    assert Counter(phase for part in parts for phase in done(part)) == Counter(PHASES)


def test_the_api_server_comes_after_its_etcd_and_the_kubelet_before_both() -> None:
    assert "kubelet-start" in done(join_phases.AT_ONCE)
    assert done(join_phases.ETCD) == {"etcd-join"}
    assert {"control-plane-prepare/control-plane", "kubelet-wait-bootstrap"} < done(join_phases.AT_LAST)
