"""Kubeconfigs for tests: an admin.conf, a user's own, and where they are."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubedrill import kubeconfig_lock

SERVER = "https://127.0.0.1:16443"
ADMIN = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0EK
    server: https://10.0.0.2:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {}
users:
- name: other
  user:
    token: wrong
- name: kubernetes-admin
  user:
    client-certificate-data: Q0VSVAo=
    client-key-data: S0VZCg==
"""
# Everything that a YAML library likes to "correct": booleans, dates, octal, trailing zeros, quotes, tags, anchors.
FOREIGN = """\
apiVersion: v1
kind: Config
x-unknown: {b: 1, a: [2, 3]}
users:
- name: zed
  user:
    token: '0123'
    username: 2024-01-02
    password: on
- name: alpha
  user: &alpha
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args: ['yes', "no", 1.10, 0o17, 0x1F, 1e3, ~, 12:30:45]
      command: aws
- name: beta
  user: *alpha
contexts:
- name: zed@prod
  context: {cluster: prod, user: zed, namespace: !custom on}
- name: alpha@prod
  context: {cluster: prod, user: alpha}
current-context: zed@prod
clusters:
- name: prod
  cluster:
    server: https://prod.example:443
    insecure-skip-tls-verify: true
    note: "caf\u00e9 \u732b"
    literal: |
      two
      lines
extensions: null
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig_lock, "PATIENCE", 0.1)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "kube").mkdir()
    return tmp_path / "kube" / "config"


def read(text: str) -> dict[str, Any]:
    loaded = yaml.load(text, Loader=yaml.BaseLoader)
    assert isinstance(loaded, dict)
    return loaded


def names(text: str, key: str) -> list[str]:
    return [entry["name"] for entry in read(text)[key]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())
