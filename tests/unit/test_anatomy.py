"""Components, from outputs of real nodes (tests/unit/anatomy: 1+1, 1.37.2, lists shortened) and from broken ones."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from kubedrill import console as printing
from kubedrill import shell
from kubedrill.anatomy import as_data, blocks, describe, explain, find, gather, parse, redact
from kubedrill.anatomy.facts import ApiFacts, NodeFacts
from kubedrill.anatomy.known import KINDS
from kubedrill.anatomy.model import Component

RECORDED = Path(__file__).parent / "anatomy"
CONTROL_PLANE, WORKER = "components-x-control-plane-1", "components-x-worker-1"
STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")


def recorded(name: str) -> dict[str, str]:
    return parse.sections((RECORDED / name).read_text(), "part-recorded")


def components(
    change: Callable[[dict[str, str]], None] = lambda _: None, *, role: str = "control-plane",
    api: ApiFacts | None = None, silent: str = "",
) -> dict[str, Component]:  # fmt: skip
    """The components of a recorded node by their names, after a change of what it told."""
    sections = recorded(f"{role}.txt")
    change(sections)
    name = CONTROL_PLANE if role == "control-plane" else WORKER
    node = NodeFacts(name, "control-plane" if role == "control-plane" else "worker", sections, silent)
    facts = api or ApiFacts(recorded("api.txt"))
    return {
        one.name: one
        for kind in KINDS
        for one in (describe.component(found, node, facts) for found in find.on_node(kind, node, facts))
    }


def without(program: str) -> Callable[[dict[str, str]], None]:
    """As if a program did not run."""

    def change(sections: dict[str, str]) -> None:
        lines = sections["processes"].splitlines()
        sections["processes"] = "\n".join(line for line in lines if line.split()[1] != program)

    return change


def test_every_component_of_a_control_plane_is_found_and_how_it_is_started() -> None:
    found = components()
    assert {name: str(one.started).removesuffix(CONTROL_PLANE) for name, one in found.items()} == {
        "kubelet": "systemd unit kubelet.service",
        "containerd": "systemd unit containerd.service",
        **{name: f"static pod {name}-" for name in STATIC},
        "kube-proxy": "DaemonSet kube-proxy",
        "flannel": "DaemonSet kube-flannel-ds",
        "coredns": "Deployment coredns",
    }
    assert {one.healthy for name, one in found.items() if name != "coredns"} == {True}
    assert (found["coredns"].state, found["coredns"].healthy) == ("absent", None)
    assert {name: found[name].started.path for name in STATIC} == {
        name: f"/etc/kubernetes/manifests/{name}.yaml" for name in STATIC
    }
    found["coredns"] = components(role="worker")["coredns"]
    assert found["coredns"].healthy is True
    assert {name: one.version for name, one in found.items() if not one.version.startswith("v1.37.2")} == {
        "containerd": "v2.4.2", "etcd": "v3.7.3", "flannel": "v0.28.10", "coredns": "v1.15.0",
    }  # fmt: skip


def test_gates_say_their_default_and_what_sets_them() -> None:
    found = components()
    scheduler = {gate.name: gate for gate in found["kube-scheduler"].gates}
    set_one = scheduler["ContextualLogging"]
    assert (set_one.on, set_one.default, set_one.set_by, set_one.differs) == (False, True, "--feature-gates", True)
    # The help names a second default, under another --min-compatibility-version: the first one holds.
    assert not scheduler["DRAFractionalCapacityRange"].differs
    assert scheduler["ImageVolume"].default is None
    kubelet = {gate.name: gate for gate in found["kubelet"].gates}
    assert kubelet["ContextualLogging"].set_by == "featureGates of its configuration"
    assert {gate.name: gate.set_by for gate in found["etcd"].gates}["InitialCorruptCheck"] == "--feature-gates"


def test_a_file_says_whether_it_is_there_and_where() -> None:
    found = {**components(), "coredns": components(role="worker")["coredns"]}
    files = {file.path: (file.place, file.exists) for one in found.values() for file in one.files}
    assert files["/var/lib/kube-proxy/config.conf"] == ("container", True)
    assert files["/etc/kubernetes/pki/ca.crt"] == ("node", True)
    assert files["/etc/kubernetes/bootstrap-kubelet.conf"] == ("node", False)
    assert files["ConfigMap kube-system/coredns"] == ("API", True)
    logs = [file for one in found.values() for file in one.files if file.purpose == "log"]
    assert len(logs) == len(KINDS)
    assert all(file.exists for file in logs)


def test_an_apiserver_of_a_daemonset_is_told_as_such() -> None:
    """As after `selfhosting`: another pod, whose owner the API knows, and no manifest."""
    uid = parse.processes(recorded("control-plane.txt")["processes"])
    process = next(one for one in uid if one.program == "kube-scheduler")
    new = "11111111-2222-3333-4444-555555555555"

    def pivot(sections: dict[str, str]) -> None:
        sections["processes"] = sections["processes"].replace(process.pod, new)
        sections["containers"] = ""
        sections["manifests"] = "\n".join(
            line for line in sections["manifests"].splitlines() if "kube-scheduler.yaml" not in line
        )

    api = recorded("api.txt")
    pods, status = api["list pods kube-system"].rsplit("\n", 1)
    changed = [one for one in json.loads(pods) if not one["name"].startswith("kube-scheduler")]
    changed.append({
        "name": "self-hosted-kube-scheduler-x7k2p", "namespace": "kube-system", "uid": new, "node": CONTROL_PLANE,
        "hash": None, "mirror": False, "owner": "DaemonSet/self-hosted-kube-scheduler",
        "containers": ["kube-scheduler"], "image": "", "phase": "Running", "restarts": 0,
    })  # fmt: skip
    api["list pods kube-system"] = f"{json.dumps(changed)}\n{status}"
    found = components(pivot, api=ApiFacts(api))
    assert str(found["kube-scheduler"].started) == "DaemonSet self-hosted-kube-scheduler"
    assert found["kube-scheduler"].pod == "kube-system/self-hosted-kube-scheduler-x7k2p"
    assert found["kube-apiserver"].started.kind == "static pod"


def test_a_program_that_only_names_a_component_is_none() -> None:
    line = base64.b64encode(b"vim\0/etc/kubernetes/manifests/etcd.yaml\0").decode()

    def change(sections: dict[str, str]) -> None:
        without("etcd")(sections)
        sections["processes"] += f"\n999 vim /user.slice {line}"

    assert components(change)["etcd"].state == "down"


def test_an_etcd_of_somebody_elses_is_not_the_clusters() -> None:
    def change(sections: dict[str, str]) -> None:
        pods, containers = sections["containers"].splitlines()
        moved = json.loads(pods)
        for pod in moved:
            pod["namespace"] = "apps" if pod["name"].startswith("etcd-") else pod["namespace"]
        sections["containers"] = f"{json.dumps(moved)}\n{containers}"

    api = recorded("api.txt")
    pods, status = api["list pods kube-system"].rsplit("\n", 1)
    others = [pod for pod in json.loads(pods) if not pod["name"].startswith("etcd-")]
    api["list pods kube-system"] = f"{json.dumps(others)}\n{status}"
    found = components(change, api=ApiFacts(api))["etcd"]
    assert (found.state, found.started.told_by) == ("down", "the manifest")


@pytest.mark.parametrize("ended", [False, True])
def test_a_pod_of_a_deployment_that_is_ending_has_been_replaced(ended: bool) -> None:
    """So it is when CoreDNS was spread over the workers: the old pods linger 5 s, and are listed longer."""
    change = without("coredns") if ended else (lambda _sections: None)
    api = recorded("api.txt")
    pods, status = api["list pods kube-system"].rsplit("\n", 1)
    there = [{**pod, "ending": False} for pod in json.loads(pods)]
    api["list pods kube-system"] = f"{json.dumps(there)}\n{status}"
    expected = "down" if ended else "running"
    assert components(change, role="worker", api=ApiFacts(api))["coredns"].state == expected
    going = [{**pod, "ending": pod["name"].startswith(("coredns-", "kube-proxy-"))} for pod in there]
    api["list pods kube-system"] = f"{json.dumps(going)}\n{status}"
    found = components(change, role="worker", api=ApiFacts(api))
    assert (found["coredns"].state, found["kube-proxy"].state) == ("absent", "running")


def test_a_kubelet_that_is_stopped_is_down_and_the_others_are_told() -> None:
    def change(sections: dict[str, str]) -> None:
        without("kubelet")(sections)
        running = "ActiveState=active\nSubState=running"
        for state in running.splitlines():
            assert state in sections["unit kubelet"]
        sections["unit kubelet"] = (
            sections["unit kubelet"].replace("ActiveState=active", "ActiveState=inactive").replace("=running", "=dead")
        )

    found = components(change, role="worker")
    assert (found["kubelet"].state, found["kubelet"].healthy) == ("down", False)
    assert found["kubelet"].why == "its unit is inactive (dead)"
    assert found["kube-proxy"].healthy is True
    assert found["kube-apiserver"].state == "absent"
    assert found["kube-apiserver"].healthy is None


def test_a_static_pod_that_does_not_run_has_the_flags_of_its_manifest() -> None:
    found = components(without("kube-scheduler"))["kube-scheduler"]
    assert (found.state, found.healthy, found.pid) == ("down", False, None)
    assert found.flag("kubeconfig") == "/etc/kubernetes/scheduler.conf"
    assert found.flags_from == "/etc/kubernetes/manifests/kube-scheduler.yaml"


def test_without_the_api_what_the_node_tells_remains() -> None:
    found = components(api=ApiFacts(silent="no control plane runs"))
    assert {name for name, one in found.items() if one.started.kind == "static pod"} == set(STATIC)
    assert "no control plane runs" in found["kube-proxy"].started.told_by
    configz = found["kubelet"].source("configz")
    assert configz is not None
    assert (configz.answered, configz.note) == (False, "no control plane runs")
    assert found["kubelet"].version == "v1.37.2"
    assert found["kubelet"].gates == ()
    assert found["kubelet"].gates_from == "metrics: no control plane runs"


def test_a_node_that_is_off_is_told_as_such() -> None:
    found = components(role="worker", silent="the node is stopped")
    assert {name for name, one in found.items() if one.state == "unknown"} == {
        "kubelet", "containerd", "kube-proxy", "flannel",
    }  # fmt: skip
    shown = [one for one in found.values() if one.state != "absent"]
    (block,) = blocks(shown, detailed=False, explained=False)
    assert block.lines == ("the node is stopped: nothing is known of kubelet, containerd, kube-proxy, flannel",)


def test_an_endpoint_that_refuses_is_told_with_its_reason() -> None:
    def change(sections: dict[str, str]) -> None:
        (pid,) = [line.split()[0] for line in sections["processes"].splitlines() if " kube-scheduler " in line]
        refused = '{"kind": "Status", "message": "forbidden: User \\"x\\" cannot get path \\"/flagz\\"", "code": 403}'
        sections[f"{pid} flagz"] = f"{refused}\n403 https://127.0.0.1:10259/flagz "
        sections[f"{pid} readyz"] = (
            "[+]ping ok\n[-]shutdown failed: reason withheld\n500 https://127.0.0.1:10259/readyz "
        )
        sections[f"{pid} livez"] = (
            "000 https://127.0.0.1:10259/livez Failed to connect to 127.0.0.1 port 10259 after 0 ms: Couldn't connect"
        )

    found = components(change)["kube-scheduler"]
    flagz = found.source("flagz")
    assert flagz is not None
    assert (flagz.answered, flagz.note) == (False, '403 forbidden: User "x" cannot get path "/flagz"')
    assert {check.name: check.answer for check in found.checks} == {
        "livez": "Failed to connect to 127.0.0.1 port 10259",
        "readyz": "500 [-]shutdown failed: reason withheld",
    }
    assert (found.state, found.healthy) == ("running", False)


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("initial-cluster-token", "abc", redact.HIDDEN),
        ("token", "abcdef.0123456789abcdef", redact.HIDDEN),
        ("bootstrapToken", "x", redact.HIDDEN),
        ("enable-bootstrap-token-auth", "true", "true"),
        ("service-account-signing-key-file", "/etc/kubernetes/pki/sa.key", "/etc/kubernetes/pki/sa.key"),
        ("token-auth-file", "/etc/tokens.csv", "/etc/tokens.csv"),
        ("etcd-servers", "https://root:geheim@10.0.0.1:2379", f"https://{redact.HIDDEN}@10.0.0.1:2379"),
        ("manifest-url-header", "Authorization: Bearer abcdefghijkl", f"Authorization: Bearer {redact.HIDDEN}"),
        ("note", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", redact.HIDDEN),
        ("plugins.io.containerd.cri", "registry.k8s.io/pause:3.10.2", "registry.k8s.io/pause:3.10.2"),
    ],
)
def test_secrets_are_not_told_and_paths_are(name: str, text: str, shown: str) -> None:
    assert redact.value(name, text) == shown


def test_private_keys_in_any_text_are_hidden() -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ==\n-----END EC PRIVATE KEY-----"
    assert redact.tree({"a": [f"before\n{key}\nafter"]}) == {"a": [f"before\n{redact.HIDDEN}\nafter"]}


def test_flags_in_all_their_forms() -> None:
    found = parse.flags(["server", "--a=b=c", "--on", "-conf", "/etc/x", "--last", "--password=x"])
    assert {flag.name: flag.value for flag in found} == {
        "a": "b=c", "on": "true", "conf": "/etc/x", "last": "true", "password": redact.HIDDEN,
    }  # fmt: skip


def test_every_flag_of_the_recorded_nodes_is_explained() -> None:
    found = [*components().values(), *components(role="worker").values()]
    flags = [(one.name, flag.name) for one in found for flag in one.flags]
    assert len(flags) > 80
    assert [pair for pair in flags if not explain.flag(*pair)] == []
    assert explain.flag("kubelet", "no-such-flag") == ""


def test_fields_that_are_explained_are_fields_there_are() -> None:
    """An explanation of a field that is called otherwise would never be shown; the recorded ones are a part of all."""
    shown = {name: [field for field in explain.fields(name) if explain.value(one.content, field) is not None]
             for name, component in components().items() for one in [component.source("configz")] if one}  # fmt: skip
    assert {"authentication.anonymous.enabled", "cgroupDriver", "staticPodPath"} <= set(shown["kubelet"])
    assert {"mode", "clientConnection.kubeconfig"} <= set(shown["kube-proxy"])
    nested = {"plugins": {"io.containerd.cri.v1.images": {"snapshotter": "overlayfs"}}}
    assert explain.value(nested, "plugins.io.containerd.cri.v1.images.snapshotter") == "overlayfs"


def test_a_line_a_component_fits_a_hundred_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = printing.Console()
    monkeypatch.setattr(console, "_out", RichConsole(width=100, highlight=False, soft_wrap=True, emoji=False))
    shown = {**components(without("kube-scheduler")), "coredns": components(role="worker")["coredns"]}
    (block,) = blocks([replace(one, node="lab") for one in shown.values()], detailed=False, explained=False)
    console.table(block.columns, block.rows)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 1 + len(KINDS)
    assert max(map(len, lines)) <= 100
    assert block.lines == ("  kube-scheduler: no process of it; crictl says its container is running, restarts: 0",)
    assert not any("…" in line for line in lines)


def test_json_has_everything_and_explanations_where_asked_for() -> None:
    one = components()["etcd"]
    plain, explained = as_data(one, explained=False), as_data(one, explained=True)
    assert json.loads(json.dumps(plain))["flags"][0] == {"name": one.flags[0].name, "value": one.flags[0].value}
    assert all(flag["explanation"] for flag in explained["flags"])


def test_details_name_where_each_piece_came_from() -> None:
    found = list(blocks([components()["kube-proxy"]], detailed=True, explained=True))
    text = "\n".join(
        [*(" ".join(row) for block in found for row in block.rows), *(line for b in found for line in b.lines)]
    )
    assert "http://127.0.0.1:10249/configz" in text
    assert "ownerReferences of the pod" in text
    assert "/var/lib/kube-proxy/config.conf" in text
    assert "its configuration file, mounted from the ConfigMap kube-proxy" in text


def test_the_scripts_parse() -> None:
    folder = Path(gather.__file__).parent
    for name in ("lib.sh", "node.sh", "api.sh"):
        shell.run(["bash", "-n", str(folder / name)])


def test_health_is_asked_before_what_costs_and_everything_with_the_least_weight(tmp_path: Path) -> None:
    library = (Path(gather.__file__).parent / "lib.sh").read_text()
    script = f"""
mktemp() {{ command mktemp --directory --tmpdir={tmp_path}; }}
mark=MARK
mkfifo {tmp_path}/meeting
{library}
later costly timeout 0.1 sh -c 'echo beside it >{tmp_path}/meeting; echo met'
later words printf '%s|' 'a b' "it's" '$x' '*'
part health timeout 0.3 sh -c 'cat {tmp_path}/meeting || true'
part weight nice
finish
"""
    told = parse.sections(shell.run(["bash", "-c", script]).stdout, "MARK")
    assert told == {"costly": "", "words": "a b|it's|$x|*|", "health": "", "weight": "19", "end": ""}
    assert [one.name for one in tmp_path.iterdir()] == ["meeting"]
