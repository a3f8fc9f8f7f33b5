"""fetch.sh and pull.sh, run for real against stand-ins for apt, curl, dpkg and containerd.

The stand-ins follow the official documentation: https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/
install-kubeadm/ (addresses, the sources line), kubeadm-upgrade/ (`apt-cache madison`), containerd's getting-started.md
(names in a release).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kubedrill import paths, shell

IMAGES = paths.repository() / "images"
DEB = "https://pkgs.k8s.io/core:/stable:/v1.37/deb/"
RELEASE = "https://github.com/containerd/containerd/releases/download/v2.4.2/containerd-2.4.2-linux-amd64.tar.gz"
MANIFEST = "https://raw.githubusercontent.com/kubernetes/kubernetes/v1.37.2/test/utils/image/manifest.go"
MANIFEST_GO = """\
	configs := map[ImageID]Config{}
	configs[AgnhostPrev] = Config{list.PromoterE2eRegistry, "agnhost", "2.32"}
	configs[Agnhost] = Config{list.PromoterE2eRegistry, "agnhost", "2.66.1"}
	configs[APIServer] = Config{list.PromoterE2eRegistry, "sample-apiserver", "1.33.8"}
"""
PAUSE = "registry.k8s.io/pause:3.10.2"
STUBS = {
    # Answers from $WEB/index: "address file"; curl's own status for an answer of 400 and more is 22.
    "curl": """
for last; do :; done
case "$*" in "--proto =https --fail --silent --show-error --location --retry 3 --output "*) ;; *) exit 64 ;; esac
file=$(awk -v wanted="$last" '$1 == wanted { print $2 }' "$WEB/index")
[ -n "$file" ] || { echo "curl: (22) The requested URL returned error: 404: $last" >&2; exit 22; }
shift 9
cp "$WEB/$file" "$1"
""",
    "dpkg": '[ "$*" = --print-architecture ] && echo amd64',
    "apt-get": """
sources=$(sed -n 's/^Dir::Etc::SourceList "\\(.*\\)";$/\\1/p' "$APT_CONFIG")
grep -qx 'Dir::Etc::SourceParts "/dev/null";' "$APT_CONFIG"
case "$*" in
    "--quiet update")
        cp "$sources" "$LOG/sources"
        key=$(sed -n 's/.*signed-by=\\([^]]*\\)].*/\\1/p' "$sources")
        case $key in *.asc) cp "$key" "$LOG/key" ;; *) exit 65 ;; esac
        grep -q 'BEGIN PGP PUBLIC KEY BLOCK' "$key" || { echo "E: The repository is not signed." >&2; exit 100; } ;;
    "--quiet download "*) echo "$3" >>"$LOG/downloads"; echo "$3" >"${3%%=*}_1_amd64.deb" ;;
    *) exit 64 ;;
esac
""",
    "apt-cache": """
[ "$1" = madison ] || exit 64
for version in $OFFERED; do echo " $2 | $version | https://pkgs.k8s.io/core:/stable:/v1.37/deb  Packages"; done
""",
    "dpkg-deb": """
[ "$1" = --extract ] || exit 64
name=$(sed 's/=.*//' "$2")
mkdir -p "$3/usr/bin" "$3/opt/cni/bin" "$3/lib/systemd/system"
echo "a unit that must stay out" >"$3/lib/systemd/system/$name.service"
case $name in
    cri-tools) echo crictl >"$3/usr/bin/crictl" ;;
    kubernetes-cni)
        for plugin in bridge portmap; do echo $plugin >"$3/opt/cni/bin/$plugin"; done
        chmod 755 "$3"/opt/cni/bin/*
        echo Apache >"$3/opt/cni/bin/LICENSE" ;;
    kubeadm) cp "$WEB/../bin/packed-kubeadm" "$3/usr/bin/kubeadm" ;;
    *) echo "$name" >"$3/usr/bin/$name" ;;
esac
chmod -f 755 "$3"/usr/bin/* || true
""",
    "packed-kubeadm": """
[ "$*" = "config images list --kubernetes-version v1.37.2" ] || exit 64
echo "a warning" >&2
echo registry.k8s.io/kube-apiserver:v1.37.2
echo registry.k8s.io/pause:3.10.2
""",
    "containerd": """
[ "$1 $3 $5 $7" = "--root --state --address --log-level" ] || exit 64
echo "started" >>"$LOG/containerd"
exec python3 -c 'import signal, socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1]); signal.pause()' "$6"
""",
    "ctr": """
[ "$1 $3 $4 $5 $6" = "--address --namespace pull --connect-timeout 60s" ] || exit 64
[ -S "$2" ] || exit 65
shift 6
echo "$*" >>"$LOG/ctr"
case "$*" in
    *missing*) echo "ctr: failed to resolve reference: not found" >&2; exit 1 ;;
    "content fetch --platform linux/amd64 "*) ;;
    "images export --local --platform linux/amd64 "*) echo "$7" >"$6" ;;
    *) exit 64 ;;
esac
""",
}


def archive(names: tuple[str, ...] = ("containerd", "containerd-shim-runc-v2", "containerd-stress", "ctr")) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.size, entry.mode = len(name), 0o755
            tar.addfile(entry, io.BytesIO(name.encode()))
    return buffer.getvalue()


def web() -> dict[str, bytes]:
    """What the official sites serve."""
    released = archive()
    digest = hashlib.sha256(released).hexdigest()
    return {
        f"{DEB}Release.key": b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
        RELEASE: released,
        f"{RELEASE}.sha256sum": f"{digest}  containerd-2.4.2-linux-amd64.tar.gz\n".encode(),
        MANIFEST: MANIFEST_GO.encode(),
    }


class Machine:
    """A folder with stand-ins for programs, what they serve and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "out"
        for name in ("bin", "web", "log", "tmp"):
            (folder / name).mkdir()
        for name, body in STUBS.items():
            path = folder / "bin" / name
            path.write_text(f"#!/bin/sh\nset -e\n{body}")
            path.chmod(0o755)

    def run(
        self, script: Path, *arguments: str, serves: Mapping[str, bytes], offered: str = "1.37.2-1.1"
    ) -> shell.Result:
        index = []
        for number, (address, content) in enumerate(serves.items()):
            (self.folder / "web" / str(number)).write_bytes(content)
            index.append(f"{address} {number}\n")
        (self.folder / "web" / "index").write_text("".join(index))
        env = {
            "PATH": f"{self.folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "WEB": str(self.folder / "web"),
            "LOG": str(self.folder / "log"), "OFFERED": offered, "TMPDIR": str(self.folder / "tmp"),
        }  # fmt: skip
        return shell.run(["sh", str(script), *arguments], env=env, check=False, timeout=60)

    def fetch(
        self, *arguments: str, serves: Mapping[str, bytes] | None = None, offered: str = "1.37.2-1.1"
    ) -> shell.Result:
        serves = web() if serves is None else serves
        return self.run(IMAGES / "fetch.sh", str(self.target), *arguments, serves=serves, offered=offered)

    def log(self, name: str) -> str:
        path = self.folder / "log" / name
        return path.read_text() if path.exists() else ""

    def made(self) -> list[str]:
        return sorted(str(path.relative_to(self.target)) for path in self.target.rglob("*") if path.is_file())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("script", ["fetch.sh", "pull.sh", "store.sh", "collect.sh"])
def test_syntax(script: str) -> None:
    shell.run(["sh", "-n", str(IMAGES / script)])


def test_runtime(machine: Machine) -> None:
    result = machine.fetch("runtime", "1.37", "v2.4.2")
    assert result.status == 0, result.output
    programs = ["bin/containerd", "bin/containerd-shim-runc-v2", "bin/crictl", "bin/ctr"]
    assert machine.made() == [*programs, "cni/bridge", "cni/portmap"]
    assert all(path.stat().st_mode & 0o111 for path in machine.target.rglob("*"))
    assert machine.log("downloads").split() == ["cri-tools", "kubernetes-cni"]


def test_kubernetes(machine: Machine) -> None:
    result = machine.fetch("kubernetes", "1.37", "v1.37.2", offered="1.37.20-1.1 1.37.2-2.1 1.37.2-1.1 1.37.0-1.1")
    assert result.status == 0, result.output
    assert machine.made() == ["bin/kubeadm", "bin/kubectl", "bin/kubelet", "images"]
    wanted = ["kubeadm=1.37.2-2.1", "kubelet=1.37.2-2.1", "kubectl=1.37.2-2.1"]
    assert machine.log("downloads").split() == wanted
    listed = (machine.target / "images").read_text().split()
    assert listed == ["registry.k8s.io/kube-apiserver:v1.37.2", PAUSE, "registry.k8s.io/e2e-test-images/agnhost:2.66.1"]


def test_the_repository_is_believed_for_its_own_key_alone(machine: Machine) -> None:
    machine.fetch("kubernetes", "1.37", "v1.37.2")
    key, _, rest = machine.log("sources").partition("] ")
    assert key.startswith(f"deb [signed-by={machine.folder}/tmp/")
    assert rest == f"{DEB} /\n"
    assert machine.log("key").startswith("-----BEGIN PGP PUBLIC KEY BLOCK")


@pytest.mark.parametrize("offered", ["1.37.0-1.1 1.37.1-1.1", "1.37.20-1.1", ""])
def test_a_patch_that_the_repository_lacks(machine: Machine, offered: str) -> None:
    result = machine.fetch("kubernetes", "1.37", "v1.37.2", offered=offered)
    assert result.status == 3
    assert f"pkgs.k8s.io has no kubeadm 1.37.2; of Kubernetes 1.37 it has: {offered}".strip() in result.stderr
    assert machine.log("downloads") == ""


def spoilt(address: str, content: bytes | None) -> dict[str, bytes]:
    served = web()
    served.pop(address)
    return served if content is None else {**served, address: content}


BROKEN = [
    ("runtime", RELEASE, None, "404"),
    ("runtime", f"{RELEASE}.sha256sum", None, "404"),
    ("runtime", RELEASE, archive(("containerd", "containerd-shim-runc-v2", "ctr")), "did NOT match"),
    ("runtime", f"{RELEASE}.sha256sum", b"nonsense\n", "no properly formatted"),
    ("runtime", f"{DEB}Release.key", None, "404"),
    ("kubernetes", f"{DEB}Release.key", b"<html>not a key</html>", "not signed"),
    ("kubernetes", MANIFEST, None, "404"),
    ("kubernetes", MANIFEST, b"package image\n", "names no agnhost"),
]


@pytest.mark.parametrize(("what", "address", "content", "says"), BROKEN)
def test_what_cannot_be_verified_ends_it(
    machine: Machine, what: str, address: str, content: bytes | None, says: str
) -> None:
    version = {"runtime": "v2.4.2", "kubernetes": "v1.37.2"}[what]
    result = machine.fetch(what, "1.37", version, serves=spoilt(address, content))
    assert result.status not in (0, 3)
    assert says in result.output


@pytest.fixture
def pull(machine: Machine) -> Callable[..., shell.Result]:
    """Run pull.sh, its absolute paths moved into the machine's folder; a stand-in for store.sh lists what it finds."""
    build = machine.folder / "build"
    build.mkdir()
    (machine.folder / "run").mkdir()
    filler = machine.folder / "store.sh"
    filler.write_text(f'#!/bin/sh\nset -e\nls {build} >"$LOG/store"\ncat {build}/*.tar >"$LOG/archives"\n')
    filler.chmod(0o755)
    text = (IMAGES / "pull.sh").read_text()
    for path in ("/build", "/run/", "/store.sh"):
        text = text.replace(f" {path}", f" {machine.folder}{path}").replace(f">{path}", f">{machine.folder}{path}")
        text = text.replace(f"<{path}", f"<{machine.folder}{path}").replace(f'"{path}', f'"{machine.folder}{path}')
    (machine.folder / "pull.sh").write_text(text)

    def run(*images: str) -> shell.Result:
        (build / "pull").write_text("".join(f"{image}\n" for image in images))
        return machine.run(machine.folder / "pull.sh", serves={})

    return run


def test_pull(machine: Machine, pull: Callable[..., shell.Result]) -> None:
    result = pull(PAUSE, "ghcr.io/flannel-io/flannel:v0.28.10")
    assert result.status == 0, result.output
    asked = machine.log("ctr").splitlines()
    assert asked == [
        f"content fetch --platform linux/amd64 {PAUSE}",
        f"images export --local --platform linux/amd64 {machine.folder}/build/pull-1.tar {PAUSE}",
        "content fetch --platform linux/amd64 ghcr.io/flannel-io/flannel:v0.28.10",
        f"images export --local --platform linux/amd64 {machine.folder}/build/pull-2.tar "
        "ghcr.io/flannel-io/flannel:v0.28.10",
    ]
    assert "pulled" not in machine.log("store").split()
    assert machine.log("archives").split() == [PAUSE, "ghcr.io/flannel-io/flannel:v0.28.10"]


def test_pull_says_which_image_it_could_not_have(machine: Machine, pull: Callable[..., shell.Result]) -> None:
    result = pull("registry.k8s.io/missing:1", PAUSE)
    assert result.status == 1
    assert "could not pull registry.k8s.io/missing:1" in result.stderr
    assert "failed to resolve reference" in result.stderr
    assert machine.log("store") == ""
