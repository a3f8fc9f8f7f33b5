"""The Vagrantfile, run by Ruby with a Vagrant that only writes down what it is told; skipped where there is no Ruby."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kubedrill import paths, shell
from kubedrill.providers.vagrant_spec import FILE, Driver, Vm, VmCluster, to_json

RECORDER = """
require "json"
class Recorder
  def initialize(path, told) = (@path, @told = path, told)
  def method_missing(name, *words, **named, &block)
    inner = Recorder.new([*@path, name, *words], @told)
    @told << [@path.join(" "), name, words, named.transform_keys(&:to_s)] unless words.empty? && named.empty?
    block&.call(inner)
    inner
  end
  def respond_to_missing?(*) = true
end
module Vagrant
  def self.configure(_) = yield(Recorder.new([], TOLD))
end
TOLD = []
load ARGV[0]
puts TOLD.to_json
"""
needs_ruby = pytest.mark.skipif(shutil.which("ruby") is None, reason="there is no Ruby here")


def told(folder: Path, driver: Driver) -> list[tuple[str, str, list[Any], dict[str, Any]]]:
    """What Vagrant is told of a cluster: (of what, which setting, words, named words)."""
    vm = Vm("lab-worker-1", "worker", "172.28.7.101", "kubedrill-abc", 1536, 1, {"v1.37.2": "/pool/store.img"})
    (folder / FILE).write_text(to_json(VmCluster("lab", "172.28.7.0/24", driver, {}, (vm,)), folder))
    shutil.copy(paths.repository() / "Vagrantfile", folder / "Vagrantfile")
    (folder / "recorder.rb").write_text(RECORDER)
    said = shell.run(["ruby", str(folder / "recorder.rb"), str(folder / "Vagrantfile")]).stdout
    return [tuple(one) for one in json.loads(said)]


@needs_ruby
def test_libvirt_is_told_what_the_spec_says(tmp_path: Path) -> None:
    found = told(tmp_path, "qemu")
    settings = {name: words for of, name, words, _ in found if of.endswith("provider libvirt")}
    assert settings["cpu_mode="] == ["maximum"]
    assert settings["memory="] == [1536]
    assert settings["management_network_name="] == ["kubedrill-lab"]
    assert next(named["value"] for _, name, _, named in found if name == "qemuargs") == "-cpu"
    (disk,) = [named for _, name, _, named in found if name == "storage"]
    assert (disk["path"], disk["shareable"]) == ("store.img", True)
    (serial,) = [named for _, name, _, named in found if name == "serial"]
    assert serial["source"]["path"] == str(tmp_path / "lab-worker-1.console")
    assert not any("virtualbox" in of for of, *_ in found)


@needs_ruby
def test_virtualbox_is_told_what_the_spec_says(tmp_path: Path) -> None:
    found = told(tmp_path, "virtualbox")
    assert not any("libvirt" in of for of, *_ in found)
    (network,) = [named for _, name, words, named in found if name == "network" and words == ["private_network"]]
    assert network["ip"] == "172.28.7.101"
    customized = [words[0] for _, name, words, _ in found if name == "customize"]
    assert [words[:2] for words in customized] == [["modifyvm", "id"], ["storageattach", "id"]]


@needs_ruby
def test_each_vm_is_defined_with_its_box_and_its_keys(tmp_path: Path) -> None:
    found = told(tmp_path, "kvm")
    assert [words for _, name, words, _ in found if name == "define"] == [["lab-worker-1"]]
    (keys,) = [words[0] for _, name, words, _ in found if name == "private_key_path="]
    assert keys[0] == str(tmp_path / "id_ed25519")


@needs_ruby
def test_without_a_cluster_it_says_where_there_is_one(tmp_path: Path) -> None:
    shutil.copy(paths.repository() / "Vagrantfile", tmp_path / "Vagrantfile")
    result = shell.run(["ruby", str(tmp_path / "Vagrantfile")], check=False)
    assert result.status != 0
    assert "invoke up --provider vagrant" in result.stderr
