"""What kind is told of a cluster, and the docker that it gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from kind_world import IMAGE, MISSING

from kubedrill import paths, shell, spec
from kubedrill.bench.kind import config
from kubedrill.providers import docker_flags


def asked(control_planes: int = 1, workers: int = 2) -> spec.ClusterSpec:
    return spec.load(None, {"name": "peer", "control_planes": control_planes, "workers": workers})


class TestConfig:
    def test_a_cluster(self) -> None:
        found = yaml.safe_load(config.cluster_config(asked(3, 1), IMAGE, 1))
        assert (found["kind"], found["apiVersion"], found["name"]) == ("Cluster", "kind.x-k8s.io/v1alpha4", "peer")
        assert [node["role"] for node in found["nodes"]] == ["control-plane"] * 3 + ["worker"]
        assert {node["image"] for node in found["nodes"]} == {IMAGE.name}
        assert found["networking"] == {
            "disableDefaultCNI": True, "podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/16",
            "kubeProxyMode": "iptables",
        }  # fmt: skip
        assert [yaml.safe_load(patch) for patch in found["kubeadmConfigPatches"]] == [
            {"kind": "ClusterConfiguration", "etcd": {"local": {"imageTag": "3.7.3"}}, "dns": {"imageTag": "v1.15.0"}},
            {"kind": "KubeletConfiguration", "failCgroupV1": False},
        ]

    def test_no_help_under_cgroup_v2_and_no_tags_where_they_are_kubeadms_own(self) -> None:
        own = config.Image("image", None, None, "flannel:1")
        assert yaml.safe_load(config.cluster_config(asked(), own, 2))["kubeadmConfigPatches"] == []

    @pytest.mark.parametrize(
        ("size", "names", "entrance"),
        [
            ((1, 2), ("peer-control-plane", "peer-worker", "peer-worker2"), "peer-control-plane"),
            ((3, 0), ("peer-control-plane", "peer-control-plane2", "peer-control-plane3"),
             "peer-external-load-balancer"),
        ],
    )  # fmt: skip
    def test_names_as_kind_gives_them(self, size: tuple[int, int], names: tuple[str, ...], entrance: str) -> None:
        assert config.node_names(asked(*size)) == names
        assert config.entrance(asked(*size)) == entrance

    @pytest.mark.parametrize(
        ("control_planes", "missing", "cgroup", "envoy", "words"),
        [
            (3, frozenset(), 2, True, []),
            (1, frozenset(), 2, False, []),
            (1, MISSING, 2, True, ["SYS_RESOURCE", "/sys/fs/cgroup", "/dev/kmsg", "restrict_oom_score_adj"]),
            (1, frozenset({"SYS_ADMIN"}), 2, True, ["SYS_ADMIN", "/sys/fs/cgroup", "/dev/kmsg"]),
            (
                3,
                MISSING,
                1,
                False,
                ["SYS_RESOURCE", "/sys/fs/cgroup", "/dev/kmsg", "restrict_oom_score_adj", "failCgroupV1", "HAProxy"],
            ),
        ],
    )
    def test_helps(
        self, control_planes: int, missing: frozenset[str], cgroup: int, envoy: bool, words: list[str]
    ) -> None:
        found = config.helps(asked(control_planes), missing, cgroup, envoy=envoy)
        assert len(found) == len(words)
        assert all(word in help for word, help in zip(words, found, strict=True))

    def test_helps_are_what_is_done_no_more_and_no_less(self) -> None:
        """Each part of the script that runs in its nodes has a line, and each line is done somewhere."""
        script = (paths.repository() / "images" / "kind" / "kubedrill-help").read_text().partition("set -eu\n")[2]
        parts = re.split(r"^# .*\n", script, flags=re.MULTILINE)[1:]
        assert len(parts) == 3
        lines = config.helps(asked(3, 0), MISSING, 1, envoy=False)
        own = config.cluster_config(asked(3, 0), IMAGE, 1)
        docker = config.wrapper("docker", config.flags(docker_flags.isolation(MISSING)))
        balancer = (paths.repository() / "images" / "kind" / "balancer" / "envoy").read_text().lower()
        done = {"--privileged": docker, "SYS_RESOURCE": docker, "failCgroupV1": own, "haproxy": balancer}
        for part in parts:
            topics = re.findall(r"/sys/fs/cgroup|/dev/kmsg|restrict_oom_score_adj", part)
            assert topics, f"what this does needs a line in config.helps, and its topic here:\n{part}"
            done |= dict.fromkeys(topics, part)
        for topic, where in done.items():
            assert topic in where
            assert sum(topic.lower() in line.lower() for line in lines) == 1, topic
        assert all(any(topic.lower() in line.lower() for topic in done) for line in lines)


class TestWrapper:
    def run(self, tmp_path: Path, *words: str) -> list[str]:
        """The arguments that the real docker gets."""
        real = tmp_path / "the real docker"
        real.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 7\n")
        real.chmod(0o755)
        script = tmp_path / "docker"
        script.write_text(config.wrapper(str(real), config.flags(docker_flags.isolation(MISSING))))
        result = shell.run(["sh", str(script), *words], check=False)
        assert result.status == 7, result.output
        return result.stdout.splitlines()

    def test_a_container_gets_other_flags(self, tmp_path: Path) -> None:
        given = ["--name", "a b", "--privileged", "--tmpfs", "/run", "image:1", "--an", "*"]
        assert self.run(tmp_path, "run", *given) == [
            "run", "--name", "a b",
            "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--device-cgroup-rule", "a *:* rwm",
            "--security-opt", "systempaths=unconfined",
            "--tmpfs", "/run", "image:1", "--an", "*",
        ]  # fmt: skip

    def test_a_command_has_what_its_container_has(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "exec", "--privileged", "-i", "node", "cat") == ["exec", "-i", "node", "cat"]

    def test_anything_else_passes(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "ps", "--privileged", "") == ["ps", "--privileged", ""]

    def test_flags_are_all_that_isolation_asks_for_and_kind_does_not(self) -> None:
        """A new key there must find its way here."""
        # --cgroupns=private, --userns=host where that matters, seccomp and apparmor unconfined
        by_kind = {"cgroupns", "userns_mode", "security_opt"}
        here = {"cap_add", "cap_drop", "device_cgroup_rules", "MaskedPaths", "ReadonlyPaths"}
        assert set(docker_flags.isolation(MISSING)) == by_kind | here
