"""All samplers of a run: what is asked, from where, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kubedrill import availability, linearizability, porcupine, slowness
from kubedrill.availability import Restored, WritesCheck
from kubedrill.cluster import Cluster
from kubedrill.cputime import Diary
from kubedrill.errors import KubedrillError
from kubedrill.history import Lane, LaneFigures, Sample, write_samples
from kubedrill.linearizability import Judgement
from kubedrill.probes import inpod, manifest
from kubedrill.probes.access import access
from kubedrill.probes.base import Probe
from kubedrill.probes.cores import Cores
from kubedrill.probes.operations import Operations
from kubedrill.probes.read import ApiRead, HttpService
from kubedrill.probes.sampler import Recording, RunPace, Sampler, stop_all
from kubedrill.probes.watch import Watch
from kubedrill.probes.write import ApiWrite, ledger, save_found
from kubedrill.providers.base import Node
from kubedrill.providers.places import VMS
from kubedrill.scenario import workload
from kubedrill.wait import until

INTERVAL = 0.1
# Fewer samples say nothing; a sampler that was later than this may have missed what it is there to see.
MINIMUM_SAMPLES = 30
MAX_STALL = 1.0
# Seconds until the API must answer after the end of a drill, so that it can be told what became of the writes.
READ_BACK = 60
# Seconds for one try; both are longer where nodes are slow.
READ_ALL = 10
# Share of a core that a lane may use; more may be felt by the cluster that it measures.
MAX_OVERHEAD = 0.10
POD = "probe"
INSIDE = ("pod-service", "pod-dns")


class Monitor:
    """Samples a cluster from outside, and from a pod inside it.

    Args:
        cluster: what is sampled.
        run: names the run's objects in the cluster: lower-case letters, digits, dashes.
        now: seconds since the start of the run.
        started: calendar time of the start of the run, seconds since 1970.
        folder: gets the samples.
        kubectl: applies a manifest in the cluster.
    """

    def __init__(
        self, cluster: Cluster, run: str, now: Callable[[], float], started: float, folder: Path,
        kubectl: Callable[..., object],
    ) -> None:  # fmt: skip
        self._cluster, self._run, self._now, self._started = cluster, run, now, started
        self._folder, self._kubectl = folder, kubectl
        # Slow nodes are asked less often, and have longer to answer: else the questions would be most of their work.
        self._interval, self._timeout = INTERVAL * cluster.slow, 1.0 * cluster.slow
        self._samplers: dict[str, Sampler] = {}
        self._recordings: dict[str, Recording] = {}
        # Of lanes that ended before the others: when, and what they recorded.
        self._ended: dict[str, float] = {}
        self._early: dict[str, Recording] = {}
        self._inside = ""
        self._end = 0.0
        self._writer: ApiWrite | None = None
        # What was asked of the lists of writes, and answered.
        self._history = Operations(now)
        self._found: dict[str, tuple[int, ...]] | None = None
        self._doubts: list[str] = []
        self._lacking: list[str] = []
        self._off: list[tuple[float, float]] = []
        self.cores = Diary(now)
        self._noting: Sampler | None = None

    def names(self) -> list[str]:
        """The lanes that this process asks; those of the pod are known only at the end."""
        return list(self._samplers)

    def lanes(self) -> list[Lane]:
        """All lanes, in the order of the report."""
        asked = [replace(one.lane, ended=self._ended.get(name)) for name, one in self._samplers.items()]
        return asked + [one.lane for one in self._pod_lanes()]

    def lane(self, name: str) -> Lane:
        """A lane by its name."""
        return next(lane for lane in self.lanes() if lane.name == name)

    def start(self, inside: str) -> None:
        """Make what the probes need in the cluster, and begin.

        Args:
            inside: the node of the pod that asks from inside; '' where nobody does.
        """
        self._inside = inside
        pod = inpod.pod_manifest(POD, inside, self._pod_lanes(), timeout=self._timeout) if inside else ""
        self._kubectl(
            *slowness.apply(self._cluster.slow),
            "-f",
            "-",
            stdin=manifest.manifest() + (pod and f"---\n{pod}"),
        )
        way = access(self._cluster.admin_conf())
        for probe in self._probes(way):
            self._sampler(probe)
        self._noting = Sampler(Cores(self.cores), RunPace(self._now))
        self._noting.start()
        for sampler in self._samplers.values():
            sampler.start()

    def add(self, name: str, title: str, server: str) -> None:
        """Sample one more way to the API from now on: reads, each on a new connection.

        Args:
            name: the lane's.
            title: the lane's, for people.
            server: the URL.
        """
        lane = Lane(name, title, self._interval, "read", "new")
        way = access(self._cluster.admin_conf())
        lists = self._writer.lists() if self._writer else ()
        self._sampler(ApiRead(lane, way.endpoint(server), lists, self._history)).start()

    def end(self, name: str) -> None:
        """End a lane before the others, as what it asks is about to go; harmless where it has ended, or never began."""
        if name in self._samplers and name not in self._ended and not self._recordings:
            self._ended[name] = self._now()
            self._early[name] = self._samplers[name].stop()

    def _sampler(self, probe: Probe) -> Sampler:
        file = self._folder / "samples" / f"{probe.lane.name}.jsonl"
        made = Sampler(probe, RunPace(self._now), file, timeout=self._timeout)
        self._samplers[probe.lane.name] = made
        return made

    def stop(self) -> None:
        """End all sampling. Twice is harmless."""
        if self._recordings or not self._samplers:
            return
        self._end = self._now()
        going_on = [sampler for name, sampler in self._samplers.items() if name not in self._ended]
        self._recordings = {**stop_all(going_on), **self._early}
        if self._noting is not None:
            self._noting.stop()
        for name, recording in self._recordings.items():
            self._doubts += [f"the probe of {name} broke: {what}" for what in recording.broken]

    def complete(self) -> None:
        """Once sampling has ended: fetch what the pod and the cluster hold of it; anew only what could not be had."""
        if self._recordings:
            self._lacking = [*self._take_from_the_pod(), *self._read_back()]

    def _read_back(self) -> list[str]:
        if self._writer is None or self._found is not None:
            return []
        patience = slowness.patience(self._cluster.slow)
        read_back = partial(self._writer.read_back, READ_ALL * self._cluster.slow)
        try:
            # Where a drill ended with its API down, that is on its way back: it was healed a moment ago.
            self._found = until(read_back, lambda _: (True, "read"), within=READ_BACK * patience,
                                what="what was written", transient=(KubedrillError,))  # fmt: skip
        except KubedrillError as error:
            return [f"what was written could not be read back: {'; '.join([error.what, *error.evidence])}"]
        save_found(self._found, self._folder / "writes-found.json")
        linearizability.save(self._history.all(), self._folder)
        return []

    def works(self, name: str) -> bool:
        """Whether the newest samples of a lane succeed."""
        newest = self._samplers[name].samples()[-5:]
        return any(sample.outcome == "ok" for sample in newest)

    def has_worked(self, name: str) -> bool:
        """Whether any sample of a lane succeeded."""
        return any(sample.outcome == "ok" for sample in self._samplers[name].samples())

    def silent_for(self, name: str) -> float:
        """Seconds since a question of a lane was last answered well."""
        for sample in reversed(self._samplers[name].samples()):
            if sample.outcome == "ok":
                return self._now() - sample.end
        return self._now()

    def was_down(self, nodes: str, start: float, end: float) -> None:
        """Nodes were down for a while; the pod that asks from inside may have been on one of them.

        Args:
            nodes: their names, or what is left of them without the cluster's.
            start: in seconds of the run.
            end: when they were started again; infinite where they were not.
        """
        if self._inside in [self._cluster.node(name).name for name in nodes.replace(",", " ").split()]:
            self._off.append((start, end))

    def samples(self) -> dict[str, Sequence[Sample]]:
        """All samples, by lane."""
        return {name: recording.samples for name, recording in self._recordings.items()}

    def figures(self, name: str, faults: Sequence[tuple[float, float]]) -> LaneFigures:
        """What a lane's samples add up to.

        Raises:
            KubedrillError: nothing was sampled on it.
        """
        recording = self._recordings.get(name)
        if recording is None:
            raise KubedrillError(f"nothing was sampled on the lane {name}")
        return availability.figures(self.lane(name), recording.samples, faults, self._end, overhead=recording.overhead)

    def writes_check(self, restored: Restored | None = None) -> WritesCheck:
        """What became of the numbered writes.

        Args:
            restored: where the store was put back to a snapshot.

        Raises:
            KubedrillError: it is not known.
        """
        if self._found is None:
            raise KubedrillError("what was written could not be read back")
        return availability.lost_writes(ledger(self._recordings["api-write"].samples), self._found, restored)

    def linearizable(self, say: Callable[[str], None], restored: Restored | None = None) -> Judgement:
        """Whether one order explains all that was read and written of each list.

        Args:
            say: told of what must be built for that.
            restored: where the store was put back to a snapshot.

        Raises:
            KubedrillError: it cannot be told.
        """
        return porcupine.check(self._history.all(), restored, self._folder, say)

    def doubts(self) -> list[str]:
        """Why what was measured cannot carry a verdict."""
        return [*self._doubts, *self._lacking] if self._recordings else ["nothing was sampled"]

    def late(self) -> list[str]:
        """Why the times that were measured cannot carry a verdict: too few samples, too late, at too high a cost."""
        weak = []
        for lane in self.lanes() if self._recordings else []:
            if lane.name in self._recordings:
                ok, why = availability.judgeable(
                    self.figures(lane.name, ()), lane, MINIMUM_SAMPLES, MAX_STALL * self._cluster.slow, MAX_OVERHEAD
                )
                weak += [] if ok else [why]
            else:
                weak.append(f"{lane.name}: no samples")
        return weak

    def _ahead(self, node: Node) -> float:
        """How many seconds a node's clock is ahead of this machine's; a container's is the same clock."""
        if self._cluster.spec.provider != VMS or node.state() != "running":
            return 0.0
        before = time.time()
        said = node.run(["date", "+%s.%N"], show=False, timeout=60).stdout
        return float(said) - (before + time.time()) / 2

    def _probes(self, way) -> list[Probe]:  # type: ignore[no-untyped-def]
        def api(name: str, title: str, kind: str = "read", connection: str = "new") -> Lane:
            return Lane(name, title, self._interval, kind, connection)  # type: ignore[arg-type]

        self._writer = ApiWrite(api("api-write", "API write through the entrance", "write"), way.endpoint(), self._run,
                                history=self._history)  # fmt: skip
        lists = self._writer.lists()
        control_planes = [node for node in self._cluster.nodes if node.role == "control-plane"]
        workers = [node for node in self._cluster.nodes if node.role == "worker"] or control_planes
        urls = [f"http://{node.address}:{workload.NODE_PORT}/" for node in workers]
        probes: list[Probe] = [
            ApiRead(api("api-read", "API read through the entrance, each on a new connection"), way.endpoint(), lists,
                    self._history),
            ApiRead(api("api-read-kept", "API read, one kept connection", connection="kept"), way.endpoint(), lists,
                    self._history),
            self._writer,
            Watch(api("watch", "Watch: events of acknowledged writes", "watch", "kept"), way.endpoint(), self._run,
                  self._writer.newest),
            HttpService(api("service", "Service from outside (node port, workers in turn)", "service"), urls),
        ]  # fmt: skip
        if len(control_planes) > 1:
            for node in control_planes:
                short = node.name.removeprefix(f"{self._cluster.spec.name}-control-plane-")
                lane = api(f"cp-{short}", f"API of {node.name} itself")
                probes.append(ApiRead(lane, way.endpoint(f"https://{node.address}:6443"), lists, self._history))
        return probes

    def _pod_lanes(self) -> list[inpod.PodLane]:
        if not self._inside:
            return []
        host = f"hello.{workload.NAMESPACE}.svc.cluster.local."
        return [
            inpod.PodLane(
                Lane("pod-service", "Service from inside a pod", self._interval, "service", "new"),
                f"http://{host[:-1]}/",
            ),
            inpod.PodLane(Lane("pod-dns", "DNS from inside a pod", self._interval, "dns", "new"), host),
        ]

    def _take_from_the_pod(self) -> list[str]:
        if not self._inside or set(INSIDE) <= set(self._recordings):
            return []
        try:
            node = self._cluster.node(self._inside)
            tree = node.read_tree(inpod.LOGS)
            ahead = self._ahead(node)
        except KubedrillError as error:
            return [f"the samples from inside could not be had: {error.what}"]
        taken = inpod.parse(inpod.log_lines(tree, POD), self._started + ahead)
        self._doubts += [f"the probe in the pod said: {line}" for line in taken.noise[:3]]
        for name, samples in taken.lanes.items():
            # Of an earlier run's pod nothing is left, but what was asked after the end does not count.
            mine = tuple(sample for sample in samples if 0 <= sample.start <= self._end)
            mine = inpod.while_off(mine, self._interval, self._off, self._end)
            self._recordings[name] = Recording(mine, taken.overhead, 0, ())
            write_samples(mine, self._folder, name)
        return []
