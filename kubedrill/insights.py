"""What the tasks do that look into a running cluster, and the course that leads through them."""

from __future__ import annotations

import json

from kubedrill import anatomy, cluster, lifecycle, spec
from kubedrill import course as learning
from kubedrill import dashboard as board
from kubedrill.console import Console, raw
from kubedrill.course import page
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.journal import Journal


def dashboard(console: Console, name: str, port: str, *, browser: bool) -> None:
    """Serve the page of a cluster until Ctrl-C.

    Raises:
        InvalidSpec: the port is none.
        NotFound: there is no such cluster.
    """
    if not port.isdecimal() or int(port) > 65535:
        raise InvalidSpec(f"'{port}' is no port", evidence=["a number up to 65535; 0 takes any that is free"])
    place = cluster.lab(console)
    place.provider.check()
    board.show(place.provider, name, int(port), console.line, browser=browser)


def course(console: Console, lesson: str | None, language: str) -> None:
    """Print the list of lessons, or one of them.

    Raises:
        InvalidSpec: there is no such lesson, or the course is not in that language.
    """
    spoken = learning.language(language)
    shown = page.page(learning.lesson(lesson), spoken) if lesson else page.contents(learning.lessons(), spoken)
    for line in shown:
        console.line(line)


def components(console: Console, name: str, node: str | None, component: str, *, as_json: bool, explained: bool) -> int:
    """Print the components of a cluster; the status is 0 when all are healthy.

    Raises:
        NotFound: there is no such cluster or node.
        InvalidSpec: there is no such component.
    """
    if component and component not in anatomy.NAMES:
        raise InvalidSpec(f"there is no component '{component}'{spec.nearest(component, anatomy.NAMES)}")
    place = cluster.lab(console)
    found = anatomy.of(cluster.attach(place.provider, name), node)
    shown = [one for one in found if component in ("", one.name)]
    if as_json:
        data = [anatomy.as_data(one, explained=explained) for one in shown]
        raw(json.dumps({"cluster": name, "components": data}, indent=1) + "\n")
    else:
        for block in anatomy.blocks(shown, detailed=bool(node or component or explained), explained=explained):
            if block.heading or block.rows:
                console.line(block.heading)
            if block.rows:
                console.table(block.columns, block.rows)
            for line in block.lines:
                console.line(line)
    return 0 if all(one.healthy is not False for one in shown) else 1


def addons(console: Console, name: str, *, remove: bool) -> None:
    """Put the add-ons of a cluster under a manager, or take it away."""
    from kubedrill.addons import install as managed

    place = cluster.lab(console)
    place.provider.check()
    with cluster.only_one(name):
        there = cluster.attach(place.provider, name)
        lifecycle.need_running(there)
        if not Journal.of(name).is_empty():
            raise KubedrillError(f"{name} carries what a drill broke", todo=[f"run: invoke heal --name {name}"])
        if remove:
            managed.remove(there, console.say)
        else:
            managed.install(there, console.say)
