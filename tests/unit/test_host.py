"""Facts about a machine, read from folders made here."""

from __future__ import annotations

import contextlib
import gzip
import ipaddress
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kubedrill import capabilities, engine_socket, host, kernel, kvmprobe
from kubedrill.errors import CommandFailed, MissingPrerequisite
from kubedrill.shell import Result


def put(root: Path, **files: str) -> Path:
    """Write files below a folder; '__' in a name stands for '/'."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_memory_is_in_mib(tmp_path: Path) -> None:
    put(tmp_path, meminfo="MemTotal:       24683864 kB\nMemFree:  1 kB\nMemAvailable:   23363000 kB\n")
    assert host.memory(proc=tmp_path) == host.Memory(24105, 22815)


def test_memory_without_proc_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="memory"):
        host.memory(proc=tmp_path)


def test_free_disk_of_a_path_that_is_not_there_is_that_of_its_parent(tmp_path: Path) -> None:
    assert abs(host.free_disk(tmp_path / "not" / "there") - host.free_disk(tmp_path)) < 1024


def test_cgroup_version(tmp_path: Path) -> None:
    assert host.cgroup_version(cgroup=tmp_path) == 1
    (tmp_path / "cgroup.controllers").touch()
    assert host.cgroup_version(cgroup=tmp_path) == 2


@pytest.mark.parametrize(
    ("text", "expected", "has_apt"),
    [
        ('ID=debian\nVERSION_CODENAME=bookworm\nNAME="Debian GNU/Linux"\n', ("debian", (), "bookworm"), True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\n',
         ("linuxmint", ("ubuntu", "debian"), "wilma"), True),
        ("ID=\"rocky\"\nID_LIKE='rhel centos fedora'\n", ("rocky", ("rhel", "centos", "fedora"), ""), False),
        ("", ("", (), ""), False),
    ],
)  # fmt: skip
def test_distribution(tmp_path: Path, text: str, expected: tuple[str, tuple[str, ...], str], has_apt: bool) -> None:
    found = host.distribution(os_release=put(tmp_path, release=text) / "release")
    assert found == host.Distribution(*expected)
    assert found.has_apt is has_apt


def test_distribution_without_os_release(tmp_path: Path) -> None:
    assert host.distribution(os_release=tmp_path / "none") == host.Distribution()


@pytest.mark.parametrize(("name", "expected"), [("systemd\n", True), ("process_api\n", False)])
def test_systemd_runs_when_it_is_process_1(tmp_path: Path, name: str, expected: bool) -> None:
    assert host.systemd_runs(proc=put(tmp_path, **{"1__comm": name})) is expected


def inotify_files(root: Path, instances: int, watches: int) -> Path:
    names = {"max_user_instances": instances, "max_user_watches": watches}
    return put(root, **{f"sys__fs__inotify__{name}": f"{value}\n" for name, value in names.items()})


def test_inotify_limits_are_raised_but_never_lowered(tmp_path: Path) -> None:
    proc = inotify_files(tmp_path, 128, 1_000_000)
    assert host.raise_inotify_limits(host.Inotify(1024, 524288), proc=proc) is True
    assert host.inotify_limits(proc=proc) == host.Inotify(1024, 1_000_000)
    assert host.raise_inotify_limits(host.Inotify(1024, 524288), proc=proc) is False


def test_inotify_limits_that_may_not_be_raised_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite) as raised:
        host.raise_inotify_limits(host.Inotify(512, 524288), proc=tmp_path)
    command = "sudo sysctl -w fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288"
    assert raised.value.todo == (command,)


@pytest.mark.parametrize(
    ("own", "resolved", "expected"),
    [
        ("nameserver 10.0.0.53\nnameserver 127.0.0.1\n", None, ("10.0.0.53",)),
        ("# nameserver 8.8.8.8\nnameserver 127.0.0.53\noptions edns0\n", "nameserver 192.168.1.1\n", ("192.168.1.1",)),
        ("nameserver 127.0.0.11\n", None, ()),
        ("nameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n", None, ()),
        ("nameserver 0.0.0.0\nnameserver 169.254.1.1\nnameserver\n", None, ()),
        (None, None, ()),
    ],
)
def test_upstream_nameservers(tmp_path: Path, own: str | None, resolved: str | None, expected: tuple[str]) -> None:
    files = {"own": own, "resolved": resolved}
    put(tmp_path, **{name: text for name, text in files.items() if text is not None})
    found = host.upstream_nameservers(resolv_conf=tmp_path / "own", resolved=tmp_path / "resolved")
    assert found == expected


def hexadecimal(address: str) -> str:
    return f"{int.from_bytes(ipaddress.IPv4Address(address).packed, sys.byteorder):08X}"


def route(interface: str, network: str, gateway: str = "0.0.0.0", flags: int = 1, metric: int = 0) -> str:
    net = ipaddress.IPv4Network(network)
    columns = [
        interface, hexadecimal(str(net.network_address)), hexadecimal(gateway), f"{flags:04X}", "0", "0", str(metric),
        hexadecimal(str(net.netmask)), "0", "0", "0",
    ]  # fmt: skip
    return "\t".join(columns)


def test_routes(tmp_path: Path) -> None:
    lines = [
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
        route("wlan0", "0.0.0.0/0", "10.1.0.1", 3, 600),
        route("eth0", "0.0.0.0/0", "192.0.2.1", 3, 100),
        route("eth0", "192.0.2.0/24"),
        route("docker0", "172.17.0.0/16"),
        route("*", "203.0.113.0/24", flags=0x201),
    ]
    proc = put(tmp_path, net__route="\n".join(lines) + "\n")
    assert [str(network) for network in host.host_networks(proc=proc)] == ["192.0.2.0/24", "172.17.0.0/16"]
    assert host.default_route(proc=proc) == host.DefaultRoute("eth0", ipaddress.IPv4Address("192.0.2.1"))


def test_no_routes(tmp_path: Path) -> None:
    assert host.host_networks(proc=tmp_path) == ()
    assert host.default_route(proc=tmp_path) is None


def test_kvm_without_the_device(tmp_path: Path) -> None:
    assert host.kvm(device=tmp_path / "kvm") == host.Kvm(False, f"there is no {tmp_path / 'kvm'}")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Result(0, "it ran\n", ""), host.Kvm(True, "it ran")),
        (Result(1, "it did not\n", ""), host.Kvm(False, "it did not")),
        (Result(-11, "", ""), host.Kvm(False, "the probe ended with status -11")),
        (None, host.Kvm(False, "a tiny machine did not end within 10 s")),
    ],
)
def test_kvm_is_what_the_probe_says(tmp_path: Path, result: Result | None, expected: host.Kvm) -> None:
    def run(argv: Sequence[str], **_: Any) -> Result:
        assert list(argv[1:]) == ["-m", "kubedrill.kvmprobe"]
        if result is None:
            raise CommandFailed("probe", None, "", "this machine")
        return result

    (tmp_path / "kvm").touch()
    assert host.kvm(device=tmp_path / "kvm", run=run) == expected


def test_the_kvm_probe_refuses_what_is_not_kvm(tmp_path: Path) -> None:
    (tmp_path / "kvm").touch()
    works, reason = kvmprobe.probe(tmp_path / "kvm")
    assert not works
    assert reason


def status(bounding: str) -> str:
    return f"Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t{bounding}\nCapAmb:\t0000000000000000\n"


@pytest.mark.parametrize(
    ("bounding", "last", "expected"),
    [
        ("000001ffffffffff", "40", ()),
        ("000001fffeffffff", "40", ("SYS_RESOURCE",)),
        ("00000000a80425fb", "9", ("DAC_READ_SEARCH", "LINUX_IMMUTABLE")),
        ("000001ffffffffff", "41", ("CAP_41",)),
    ],
)
def test_missing_capabilities(tmp_path: Path, bounding: str, last: str, expected: tuple[str]) -> None:
    proc = put(tmp_path, **{"7__status": status(bounding), "sys__kernel__cap_last_cap": f"{last}\n"})
    assert host.missing_capabilities(7, proc=proc) == expected


def test_missing_capabilities_of_no_process(tmp_path: Path) -> None:
    assert host.missing_capabilities(7, proc=tmp_path) is None


def engine_proc(root: Path) -> Path:
    return put(
        root,
        **{
            "1__comm": "systemd\n", "1__status": status("000001ffffffffff"),
            "7__comm": "dockerd\n", "7__status": status("000001fffeffffff"),
            "8__comm": "cat\n", "8__status": status("0000000000000000"),
            "sys__kernel__cap_last_cap": "40\n", "good.pid": "7\n", "stale.pid": "8\n", "bad.pid": "x",
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("peer", "pid_file", "expected"),
    [
        (7, "none.pid", ("SYS_RESOURCE",)),
        (1, "good.pid", ("SYS_RESOURCE",)),  # socket activation: the listener is systemd, not the engine
        (1, "stale.pid", None),
        (1, "bad.pid", None),
        (None, "good.pid", None),
    ],
)
def test_engine_missing_capabilities(
    tmp_path: Path, peer: int | None, pid_file: str, expected: tuple[str, ...] | None
) -> None:
    proc = engine_proc(tmp_path)
    found = capabilities.engine_missing_capabilities(
        socket=Path("/x"), peer=lambda _: peer, pid_file=proc / pid_file, proc=proc
    )
    assert found == expected


def test_the_socket_that_docker_host_names() -> None:
    assert engine_socket.socket_path({}) == Path("/var/run/docker.sock")
    assert engine_socket.socket_path({"DOCKER_HOST": "unix:///run/user/1/docker.sock"}) == Path(
        "/run/user/1/docker.sock"
    )
    assert engine_socket.socket_path({"DOCKER_HOST": "tcp://elsewhere:2376"}) is None


@contextlib.contextmanager
def served(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Somebody who answers the first that comes to a unix socket."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            client, _ = server.accept()
            with client:
                answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(timeout=5)


@pytest.mark.parametrize(
    ("line", "expected"), [(b"HTTP/1.0 200 OK\r\n\r\nOK", "answers"), (b"HTTP/1.0 500 no\r\n\r\n", "silent")]
)
def test_asking_a_socket(tmp_path: Path, line: bytes, expected: str) -> None:
    path = tmp_path / "s"
    assert engine_socket.ask(path) == "silent"
    assert engine_socket.peer(path) is None

    def answer(client: socket.socket) -> None:
        client.recv(1000)
        client.sendall(line)

    with served(path, answer):
        assert engine_socket.ask(path) == expected


@pytest.mark.parametrize(
    ("head", "taken"),
    [
        (b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n", True), (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 409 Conflict\r\nContent-Length: 4\r\n\r\n", False), (b"", False), (b"HTTP/1.1 101 UPG", False),
    ],
)  # fmt: skip
def test_taking_a_connection_over(tmp_path: Path, head: bytes, taken: bool) -> None:
    path = tmp_path / "s"
    assert engine_socket.take_over(path, "/exec/1/start", "{}", 5) is None, "nobody is there"
    got: list[bytes] = []

    def answer(client: socket.socket) -> None:
        got.append(client.recv(1000))
        client.sendall(head + (b"more" if taken else b""))  # in one packet with the head
        if taken:
            got.append(client.recv(1000))

    with served(path, answer):
        stream = engine_socket.take_over(path, "/exec/1/start", "{}", 5)
        assert (stream is not None) == taken
        if stream is not None:
            with stream:
                assert stream.recv(1000) == b"more"
                assert stream.gettimeout() is None
                stream.sendall(b"sent")
    assert got[0].startswith(b"POST /exec/1/start HTTP/1.1\r\n")
    assert got[0].endswith(b"Content-Length: 2\r\n\r\n{}")
    assert got[1:] == ([b"sent"] if taken else [])


def state_of(name: str, tmp_path: Path, try_out: Callable[[Sequence[str]], Result] | None = None) -> kernel.Feature:
    found = kernel.kernel_features(
        proc=tmp_path / "proc", modules=tmp_path / "modules", boot=tmp_path / "boot", release="6.1",
        try_out=try_out or (lambda argv: Result(2, "", "no idea")),
    )  # fmt: skip
    assert tuple(feature.name for feature in found) == kernel.FEATURES
    return next(feature for feature in found if feature.name == name)


def write_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "proc").mkdir(exist_ok=True)
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(text.encode()))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("CONFIG_NET_SCH_NETEM=y\n", "present"),
        ("# CONFIG_NET_SCH_NETEM is not set\n", "absent"),
        ("CONFIG_NET_SCH_NETEM_OTHER=y\n", "absent"),
    ],
)
def test_a_feature_by_the_kernels_configuration(tmp_path: Path, config: str, expected: str) -> None:
    write_config(tmp_path, config)
    assert state_of("netem", tmp_path).state == expected


def test_a_feature_that_is_a_module_needs_the_module(tmp_path: Path) -> None:
    write_config(tmp_path, "CONFIG_NET_SCH_NETEM=m\nCONFIG_DUMMY=m\n")
    put(tmp_path / "modules/6.1", **{"modules.dep": "kernel/net/sched/sch_netem.ko.xz:\n", "modules.builtin": ""})
    assert state_of("netem", tmp_path).state == "present"
    assert state_of("dummy", tmp_path).state == "absent"


def test_a_feature_by_what_is_loaded_built_in_or_active(tmp_path: Path) -> None:
    put(tmp_path / "proc", modules="vxlan 155648 0 - Live 0x0\n")
    put(tmp_path / "proc", **{"sys__net__bridge__bridge-nf-call-iptables": "1\n"})
    put(tmp_path / "modules/6.1", **{"modules.builtin": "kernel/net/sched/sch-tbf.ko\n", "modules.dep": ""})
    for name in ("vxlan", "br_netfilter", "tbf"):
        assert state_of(name, tmp_path).state == "present", name
    assert state_of("wireguard", tmp_path).state == "absent"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Result(0, "", ""), "present"),
        (Result(2, "", "Error: Unknown device type.\n"), "absent"),
        (Result(2, "", "RTNETLINK answers: Operation not permitted\n"), "unknown"),
        (None, "unknown"),
    ],
)
def test_a_feature_is_tried_out_where_nothing_on_disk_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Result | None, expected: str
) -> None:
    monkeypatch.setattr(kernel.shutil, "which", lambda program: f"/sbin/{program}")

    def try_out(argv: Sequence[str]) -> Result:
        if result is None:
            raise CommandFailed("ip", None, "", "this machine")
        return result

    assert state_of("dummy", tmp_path, try_out).state == expected
    assert state_of("br_netfilter", tmp_path, try_out).state == "unknown"


def test_a_feature_is_unknown_without_the_program_to_try_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel.shutil, "which", lambda program: None)
    assert state_of("dummy", tmp_path).state == "unknown"
