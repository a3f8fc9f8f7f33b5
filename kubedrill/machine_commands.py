"""What tasks do with this machine, not with a cluster: from words to words, as in commands.py.

A module of its own, since what it imports costs `up` and others a tenth of a second that do without.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from kubedrill import cluster, hollow, ingredients, install, libvirtd, paths, porcupine, pruning, shell, spec, vm_setup
from kubedrill import doctor as examination
from kubedrill.bench.kind import image as kind
from kubedrill.commands import typed
from kubedrill.console import Console, raw
from kubedrill.errors import EngineUnavailable, InvalidSpec, MissingPrerequisite
from kubedrill.hints import hinted
from kubedrill.images import build as building
from kubedrill.images import components, push, rootfs
from kubedrill.providers import places
from kubedrill.providers.virsh import Virsh


def doctor(
    console: Console, control_planes: str | None, workers: str | None, kubernetes: str | None, *, as_json: bool
) -> int:
    """Print the findings; the status is 0 when `up` can work."""
    asked = spec.load(None, typed({"control_planes": control_planes, "workers": workers, "kubernetes": kubernetes}))
    place = cluster.lab(console)
    try:
        built = building.is_built(place.engine, asked.kubernetes)
    except (EngineUnavailable, MissingPrerequisite):
        built = False  # which of them is lacking, the table tells
    findings = examination.examine(asked, engine_info=place.engine.info, built=built)
    if as_json:
        raw(hinted(json.dumps([asdict(finding) for finding in findings], indent=1)) + "\n")
    else:
        rows = [(found.verdict, found.name, found.found, found.follows) for found in findings]
        console.table(("", "what", "found", "what follows"), rows)
    return examination.exit_code(findings)


def setup(console: Console, provider: str) -> None:
    """Install and start what is lacking.

    Raises:
        InvalidSpec: there is no such provider.
    """
    if provider not in (places.CONTAINERS, places.VMS):
        raise InvalidSpec(f"there is no provider '{provider}'{spec.nearest(provider, [places.CONTAINERS, places.VMS])}")
    # What nodes are made of is built by the container engine, also for VMs.
    for line in install.setup() + (vm_setup.setup() if provider == places.VMS else []):
        console.say(line)


def build(console: Console, kubernetes: str | None, source: str, *, box: bool) -> None:
    """Build what is not there yet."""
    asked = spec.load(None, {"kubernetes": kubernetes})
    place = cluster.lab(console)
    with console.step(f"what nodes of Kubernetes {asked.version()} are made of is there"):
        built = building.ensure(place.engine, asked.kubernetes, place.missing, console.say, source=source)
    console.say(f"node image {built.node_image}, image store {built.store.volume}")
    if (compiler := building.compiler_or_none()) is not None:
        with console.step("what drills use besides is there"):
            for name in (porcupine.COMPONENT, push.COMPONENT, hollow.COMPONENT):
                components.build(name, compiler, console.say)
    if box:
        with console.step("what VMs are made of is there"):
            made = ingredients.of_vms(place.engine, built, console)
        console.say(f"box {made.image}, disk {', '.join(made.stores.values())}")


def prune(console: Console, *, dry: bool) -> int:
    """Remove builds that nothing asks for any more; the status is 1 where some could not be removed."""
    engine = cluster.lab(console).engine
    compiler = building.compiler_or_none()
    wanted = building.wanted(engine, compiler)
    if compiler is not None:
        wanted += kind.names(rootfs.choose(), compiler)
    kept = pruning.addresses(" ".join(wanted)) | pruning.in_use(engine, paths.state() / "vagrant")
    places = pruning.shelves(
        engine, vagrant=vm_setup.VAGRANT_HOME, disks=libvirtd.IMAGES, refresh=lambda: Virsh().refresh()
    )
    gone, refused = pruning.prune(places, kept, dry=dry)
    if gone:
        console.table(("what", "name", "MiB"), [(one.kind, one.name, str(one.mebibytes)) for one in gone])
    for line in refused:
        console.say(f"not removed: {line}; once nothing uses it, run: invoke prune")
    size = sum(one.mebibytes for one in gone)
    console.say(f"{size} MiB {'would be' if dry else 'are'} free again" if gone else "nothing is superseded")
    return 1 if refused else 0


def test(console: Console, *, unit: bool, everything: bool, vagrant: bool, keyword: str) -> int:
    """Run pytest; the status is pytest's.

    Raises:
        MissingPrerequisite: this is no checkout.
    """
    if paths.is_installed():
        raise MissingPrerequisite("the tests are not part of what is installed", todo=["run them in a clone"])
    root = paths.repository()
    folders = ["tests/unit"] if unit else ["tests"]
    if not unit:
        setup(console, places.VMS if vagrant else places.CONTAINERS)
        build(console, None, building.AUTO, box=vagrant)
    arguments = ["-k", keyword] if keyword else []
    marks = ("vagrant" if vagrant else "not vagrant") + ("" if everything else " and not slow")
    arguments += ["-m", marks]
    return shell.interactive(
        [sys.executable, "-m", "pytest", f"--rootdir={root}", *(str(root / each) for each in folders), *arguments]
    )
