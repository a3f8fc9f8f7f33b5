"""Ask the nodes and the API: one round trip a node, and one more to a control plane, all at once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

from kubedrill.anatomy import parse
from kubedrill.anatomy.facts import ApiFacts, NodeFacts
from kubedrill.errors import CommandFailed, KubedrillError
from kubedrill.providers.base import Node

# Each request in the scripts has its own limit of a few seconds; a node that is overloaded may need several in turn.
_LIMIT = 120


def gather(nodes: Sequence[Node], control_planes: Sequence[Node]) -> tuple[list[NodeFacts], ApiFacts]:
    """What nodes and the API tell; who does not answer is told, not raised.

    Args:
        nodes: the nodes to look at.
        control_planes: where the API may be asked; the first that answers is taken.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        api = pool.submit(_api, nodes, control_planes)
        facts = list(pool.map(_node, nodes))
        return facts, api.result()


def _node(node: Node) -> NodeFacts:
    try:
        state = node.state()
        if state != "running":
            return NodeFacts(node.name, node.role, silent=f"the node is {state}")
        return NodeFacts(node.name, node.role, _run(node, "node.sh"))
    except KubedrillError as error:
        return NodeFacts(node.name, node.role, silent=_words(error))


def _api(nodes: Sequence[Node], control_planes: Sequence[Node]) -> ApiFacts:
    silent = "no control plane runs"
    for one in control_planes:
        try:
            if one.state() != "running":
                continue
            sections = _run(one, "api.sh", *(f"{node.name}={node.address}" for node in nodes))
        except KubedrillError as error:
            silent = _words(error)
            continue
        listed = parse.answer(sections.get("list pods kube-system"))
        if listed is not None and listed.ok:
            return ApiFacts(sections)
        silent = f"the API does not answer ({listed.short if listed else 'nothing was printed'})"
    return ApiFacts(silent=silent)


def _run(node: Node, script: str, *arguments: str) -> dict[str, str]:
    # A word that no output can hold by chance begins each part.
    mark = f"part-{secrets.token_hex(8)}"
    folder = resources.files(__package__)
    text = "\n".join([f"mark={mark}", (folder / "lib.sh").read_text(), (folder / script).read_text()])
    result = node.run(["bash", "-c", text, "anatomy", *arguments], check=False, timeout=_LIMIT, show=False)
    sections = parse.sections(result.stdout, mark)
    if "end" not in sections:
        # Half of an answer would be told as components that do not run.
        raise KubedrillError(f"{node.name} told {len(sections)} parts and no end", evidence=[result.stderr[-200:]])
    return sections


def _words(error: KubedrillError) -> str:
    if isinstance(error, CommandFailed):  # its evidence begins with a script of two hundred lines
        return error.what
    return "; ".join([error.what, *error.evidence[:1]])[:200]
