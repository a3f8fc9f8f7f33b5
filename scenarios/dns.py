"""Names inside the cluster: CoreDNS scaled, killed, misconfigured in two ways, and mended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from kubedrill import checks
from kubedrill.faults import ChangeConfigMap, Fault, KillPod, LeftOut, Scale
from kubedrill.kube import PodSnapshot
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab
from kubedrill.wait import Verdict

NAMESPACE, DEPLOYMENT, KEY = "kube-system", "coredns", "Corefile"
SELECTOR = "k8s-app=kube-dns"
DOMAIN, WRONG_DOMAIN = "cluster.local", "cluster.drill"
ZONE, WRONG_ZONE = f"kubernetes {DOMAIN} ", f"kubernetes {WRONG_DOMAIN} "
# kubeadm's Corefile: a pod that is told to end answers for so long (health's lameduck).
LAMEDUCK = 5
# A pod starts in about 2 s here and is asked each second whether it is ready; kube-proxy follows within a second.
READY, PROXY = 3, 1
# The kubelet lists what runs each second (PLEG), and starts a container that died for the first time at once.
DIED = 1
# The second time it waits: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy.
BACK_OFF = 10
# The kubelet looks at a pod's ConfigMaps when it syncs the pod, 60 to 90 s after it last did (syncFrequency 1 min and
# half as much jitter); CoreDNS reads its file each 30 s (https://coredns.io/plugins/reload/), where the jitter of 15 s
# means up to 7.5 s less or more (setup.go of that plugin).
SYNC, RELOAD = (60, 90), (22.5, 37.5)


@scenario(control_planes=1, workers=2)
def dns(lab: Lab) -> None:
    """Scale CoreDNS, kill one and all of its pods, break its Corefile and mend it; names fail only where they must."""
    run(lab)


def run(lab: Lab, *, alone: bool = False, mended: bool = True) -> None:
    """The drill; its negative controls take a remedy away, and end after the part that it is for.

    Args:
        lab: the lab.
        alone: CoreDNS has one pod, which is killed: nobody is there to take over.
        mended: whether the Corefile is put right; False leaves it to the run's end.
    """
    lab.apply(workload.deployment("hello", 2), workload.service("hello", workload.NODE_PORT))
    asking = lab.expect(
        "hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2), within=60
    )[0].name
    found, replicas = corefile(lab), len(servers(lab))
    lab.assume_true("CoreDNS has two pods, as kubeadm makes them", replicas == 2, f"{replicas} pods")
    lab.assume_true("the Corefile is kubeadm's", ZONE in found and "reload" in found, f"{len(found)} characters")
    lab.baseline(5)
    if alone:
        with lab.fault(Scale(NAMESPACE, DEPLOYMENT, replicas, 1)):
            _settled(lab, 1, LAMEDUCK + 2)
            crash = _one_dies(lab)
        _judge_crash(lab, crash)
        return
    if not mended:
        _names_vanish(lab, asking, found, LeftOut)
        return
    scaled = _scaled(lab, replicas)
    deleted = _one_is_deleted(lab)
    crash = _one_dies(lab)
    all_gone = _all_die(lab)
    unreadable = _unreadable(lab, asking, found)
    broken = _names_vanish(lab, asking, found)
    _settled(lab, replicas, READY)
    lab.hold(3)
    same = (corefile(lab) == found, len(servers(lab)) == replicas)

    lab.verify()
    for what, part in (("scaling", scaled), ("deleting one pod", deleted), ("an unreadable Corefile", unreadable)):
        lab.require_downtime("pod-dns", 0, between=part, when=what)
    _require_crash(lab, crash)
    gap = _gap(lab, all_gone)
    lab.require("all pods died: it was felt", gap > 0, f"longest gap {gap:.2f} s")
    lab.require_downtime("pod-dns", 15, between=all_gone, when="all pods died")
    away = _gap(lab, broken)
    lab.require("with another zone names fail, until it is mended", away > 5, f"none found for {away:.1f} s")
    lab.fact("names away while the zone was wrong", f"{away:.1f} s")
    lab.require("CoreDNS is as it was found: its Corefile, and its number of pods", all(same),
                f"{replicas} pods, Corefile {'the same' if same[0] else 'another'}")  # fmt: skip


def _scaled(lab: Lab, replicas: int) -> tuple[float, float]:
    """A pod is asked from when it is ready, and is no longer asked from when it is told to end, 5 s before it does."""
    began = lab.now()
    lab.command(f"kubectl scale --namespace {NAMESPACE} deployment/{DEPLOYMENT} --replicas={replicas + 1}")
    with lab.fault(Scale(NAMESPACE, DEPLOYMENT, replicas, replicas + 1)):
        _settled(lab, replicas + 1, READY)
        lab.hold(PROXY + 1)
        lab.command(f"kubectl scale --namespace {NAMESPACE} deployment/{DEPLOYMENT} --replicas={replicas}")
    lab.say(
        f"prediction: the pod too many answers for {LAMEDUCK} s more (lameduck), and is asked no more after {PROXY} s"
    )
    _settled(lab, replicas, LAMEDUCK + 1)
    return began, lab.now()


def _one_is_deleted(lab: Lab) -> tuple[float, float]:
    began, count = lab.now(), len(servers(lab))
    name = servers(lab)[0].name
    lab.command(f"kubectl delete pod --namespace {NAMESPACE} {name}")
    lab.from_now()
    lab.kubectl("delete", "pod", "--namespace", NAMESPACE, name, "--wait=false")
    _settled(lab, count, max(READY, LAMEDUCK + 1))
    return began, lab.now()


def _one_dies(lab: Lab) -> tuple[float, float]:
    """Nobody is told: until the kubelet notices and kube-proxy knows, the dead pod is sent its share of questions."""
    pod, began = servers(lab)[0], lab.now()
    lab.say(
        f"prediction: its share of questions is lost for {DIED + PROXY} s at most. The container is started again at "
        f"once, but after a second death within ten minutes only {BACK_OFF} s later (back-off)"
    )
    for times, wait in enumerate((0, BACK_OFF), 1):
        with lab.fault(_kill(pod), role="runs CoreDNS"):
            lab.expect(
                f"{pod.name} is ready again", lambda: servers(lab),
                partial(_restarted, before={pod.name: pod.restarts + times - 1}), within=90,
                predicted=wait + DIED + READY,
            )  # fmt: skip
    lab.hold(PROXY + 1)
    return began, lab.now()


def _all_die(lab: Lab) -> tuple[float, float]:
    pods, began = servers(lab), lab.now()
    with lab.fault(*(_kill(pod) for pod in pods), role="run CoreDNS"):
        before, fresh = {pod.name: pod.restarts for pod in pods}, min(pods, key=lambda pod: pod.restarts)
        lab.expect(
            f"{fresh.name}, which had not died before, is ready again", lambda: servers(lab),
            partial(_restarted, before={fresh.name: fresh.restarts}), within=90, predicted=DIED + READY,
        )  # fmt: skip
        lab.expect(
            "all of them are: the third death of one costs twice the back-off", lambda: servers(lab),
            partial(_restarted, before=before), within=120, predicted=2 * BACK_OFF + DIED + READY,
        )  # fmt: skip
    return began, lab.now()


def _unreadable(lab: Lab, asking: str, found: str) -> tuple[float, float]:
    """CoreDNS keeps what it has while its file cannot be read; whoever starts now cannot."""
    began, pods = lab.now(), servers(lab)
    lab.command(f"kubectl edit configmap --namespace {NAMESPACE} {DEPLOYMENT}     (the last brace is forgotten)")
    with lab.fault(ChangeConfigMap(NAMESPACE, DEPLOYMENT, KEY, found, found.rstrip().removesuffix("}"))):
        _nudge(lab)
        lab.command(f"kubectl logs --namespace {NAMESPACE} --selector {SELECTOR}")
        lab.expect(
            "every pod of CoreDNS says that it cannot read its file",
            lambda: {pod.name: _said(lab, pod.name, "parse failed", began) for pod in pods},
            lambda said: (all(said.values()), "; ".join(map(str, said.values()))), within=RELOAD[1] + 30,
            predicted=_late(RELOAD, len(pods)) + 2, every=1,
        )  # fmt: skip
        told = _said(lab, pods[0].name, "parse failed", began)
        lab.say(f"{pods[0].name}: {told}")
        answers = [_answer(lab, asking, pod.ip) for pod in pods]
        lab.require("all of them go on with what they had", all(answers), ", ".join(answers))
        lab.command(
            f"kubectl delete pod --namespace {NAMESPACE} {pods[0].name}     (the next one has to read the file)"
        )
        lab.from_now()
        lab.kubectl("delete", "pod", "--namespace", NAMESPACE, pods[0].name, "--wait=false")
        crashing = lab.expect(
            "the pod that took its place crashes again and again", lambda: servers(lab, all_of_them=True),
            lambda now: _crashing(now, {pod.name for pod in pods}), within=60, predicted=DIED + 2,
        )  # fmt: skip
        name = next(pod.name for pod in crashing if pod.restarts and pod.name not in {one.name for one in pods})
        lab.command(f"kubectl logs --namespace {NAMESPACE} {name} --previous")
        why = lab.expect(
            "its log tells why", lambda: _last_words(lab, name), lambda words: (bool(words), words or "no line"),
            within=30, every=1,
        )  # fmt: skip
        lab.require("its log tells the line of the Corefile", "/etc/coredns/Corefile:" in why, why)
    lab.command(f"kubectl delete pod --namespace {NAMESPACE} {name}     (sooner than its back-off ends)")
    lab.from_now()
    lab.kubectl("delete", "pod", "--namespace", NAMESPACE, name, "--wait=false")
    _settled(lab, len(pods), READY)
    return began, lab.now()


def _names_vanish(
    lab: Lab, asking: str, found: str, around: Callable[[Fault], Fault] = lambda fault: fault
) -> tuple[float, float]:
    """A Corefile that can be read, and says the wrong thing: CoreDNS takes it, all is Ready, and names are gone."""
    began, pods = lab.now(), servers(lab)
    until_all = _late(SYNC, len(pods)) + _late(RELOAD, 1)
    lab.say(
        f"prediction: the kubelet writes the file within {SYNC[1]} s, CoreDNS reads it within {RELOAD[1]:g} s more: "
        f"both after about {until_all:.0f} s, at most {SYNC[1] + RELOAD[1]:.0f} s"
    )
    wrong = found.replace(ZONE, WRONG_ZONE)
    lab.command(
        f"kubectl edit configmap --namespace {NAMESPACE} {DEPLOYMENT}     ({ZONE.strip()} -> {WRONG_ZONE.strip()})"
    )
    with lab.fault(around(ChangeConfigMap(NAMESPACE, DEPLOYMENT, KEY, found, wrong))):
        lab.expect(
            f"every pod of CoreDNS finds the name below {WRONG_DOMAIN}",
            lambda: _answers(lab, asking, pods, WRONG_DOMAIN),
            lambda now: (all(now.values()), _told(now)), within=SYNC[1] + RELOAD[1] + 20, predicted=until_all,
            every=1,
        )  # fmt: skip
        right = _answers(lab, asking, pods)
        lab.require(f"and none below {DOMAIN}, where all pods look for it", not any(right.values()), _told(right))
        ready, why = checks.pods_running(servers(lab), len(pods))
        lab.require("and Kubernetes sees nothing: all pods of CoreDNS are Ready", ready, why)
        lab.hold(5)
    _nudge(lab)
    lab.from_now()
    lab.expect(
        "every pod of CoreDNS finds the name again", lambda: _answers(lab, asking, pods),
        lambda now: (all(now.values()), _told(now)), within=RELOAD[1] + 40, predicted=_late(RELOAD, len(pods)) + 2,
        every=1,
    )  # fmt: skip
    return began, lab.now()


def _nudge(lab: Lab) -> None:
    """Any change of a pod makes its kubelet sync it, and so write its ConfigMaps' files, at once."""
    for change in ("drill=look", "drill-"):
        line = ("annotate", "pod", "--namespace", NAMESPACE, "--selector", SELECTOR, change, "--overwrite")
        lab.command(f"kubectl {' '.join(line)}")
        lab.kubectl(*line)


def _judge_crash(lab: Lab, crash: tuple[float, float]) -> None:
    lab.verify()
    _require_crash(lab, crash)


def _require_crash(lab: Lab, crash: tuple[float, float]) -> None:
    lab.require_downtime("pod-dns", DIED + PROXY, between=crash)


def _gap(lab: Lab, part: tuple[float, float]) -> float:
    windows = lab.figures("pod-dns").windows
    return max((end - start for start, end in windows if part[0] <= start < part[1]), default=0.0)


def _settled(lab: Lab, count: int, predicted: float) -> None:
    lab.expect(
        f"CoreDNS has {count} pods, all ready, and none that ends", lambda: servers(lab, all_of_them=True),
        lambda pods: checks.pods_running(pods, count), within=90, predicted=predicted,
    )  # fmt: skip


def corefile(lab: Lab) -> str:
    """CoreDNS's configuration, as its ConfigMap holds it."""
    where = ("get", "configmap", "--namespace", NAMESPACE, DEPLOYMENT)
    return lab.kubectl(*where, "-o", f"jsonpath={{.data.{KEY}}}").stdout


def servers(lab: Lab, *, all_of_them: bool = False) -> tuple[PodSnapshot, ...]:
    """The pods of CoreDNS, without those that end."""
    pods = lab.read(lambda: lab.api.pods(NAMESPACE, SELECTOR))
    return tuple(pod for pod in pods if all_of_them or not pod.deleting)


def _kill(pod: PodSnapshot) -> KillPod:
    return KillPod(pod.node, NAMESPACE, pod.name, "coredns")


def _said(lab: Lab, pod: str, what: str, since: float) -> str:
    """The newest line of a pod's log with some words in it."""
    ago = f"{lab.now() - since + 1:.0f}s"
    log = lab.kubectl("logs", "--namespace", NAMESPACE, pod, f"--since={ago}", check=False).stdout
    return next((line.strip() for line in reversed(log.splitlines()) if what in line), "")


def _last_words(lab: Lab, pod: str) -> str:
    """What a pod that crashes says of its Corefile, this time or the time before; empty while neither log has it.

    Not simply the last line: standard output and error reach the log in either order.
    """
    for which in ((), ("--previous",)):
        log = lab.kubectl("logs", "--namespace", NAMESPACE, pod, *which, check=False).stdout
        if told := [line.strip() for line in log.splitlines() if "Corefile" in line]:
            return told[-1][-160:]
    return ""


def _answer(lab: Lab, asking: str, server: str, domain: str = DOMAIN) -> str:
    name = f"hello.{workload.NAMESPACE}.svc.{domain}"
    answer = lab.in_pod(asking, f"dig +short +time=1 +tries=1 @{server} {name}", check=False)
    return "" if answer.status else answer.stdout.strip()


def _answers(lab: Lab, asking: str, pods: Sequence[PodSnapshot], domain: str = DOMAIN) -> dict[str, str]:
    return {pod.name: _answer(lab, asking, pod.ip, domain) for pod in pods}


def _told(answers: Mapping[str, str]) -> str:
    return ", ".join(f"{pod}: {answer or 'no answer'}" for pod, answer in answers.items())


def _restarted(pods: Sequence[PodSnapshot], *, before: Mapping[str, int]) -> Verdict:
    """Every pod has started its container again, and is ready."""
    now = {pod.name: pod for pod in pods}
    done = all(name in now and now[name].restarts > count and now[name].ready for name, count in before.items())
    return done, ", ".join(
        f"{one.name}: {one.restarts} restarts, {'ready' if one.ready else 'not ready'}" for one in pods
    )


def _crashing(pods: Sequence[PodSnapshot], before: set[str]) -> Verdict:
    new = [pod for pod in pods if pod.name not in before]
    return any(pod.restarts >= 1 for pod in new), ", ".join(f"{one.name}: {one.restarts} restarts" for one in new)


def _late(within: tuple[float, float], count: int) -> float:
    """When the last of several is expected, each of which looks once in such a period, at any moment of it."""
    return sum(within) / 2 * count / (count + 1)
