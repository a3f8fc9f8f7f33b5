"""A kubeconfig as a tree of YAML nodes: read, looked into, changed in places, written.

Nodes, not Python values, so that what is not changed keeps its spelling: `on`, `1.10`, dates, quotes, tags, anchors.
Comments and blank lines are lost, as they are when kubectl writes the file.
"""

from __future__ import annotations

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from kubedrill.errors import BrokenKubeconfig

# The lists of a kubeconfig, with the key of an entry that holds its content (client-go, clientcmd/api/v1/types.go).
LISTS = {"clusters": "cluster", "contexts": "context", "users": "user"}
_EMPTY = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\ncurrent-context: ''\nusers: []\n"
_NULL = "tag:yaml.org,2002:null"
# No line is folded: base64 of keys stays on its line.
_WIDTH = 2**31


def parse(text: str) -> MappingNode:
    """The tree of a kubeconfig; that of one without entries for an empty text.

    Raises:
        BrokenKubeconfig: it is not YAML, not a mapping, or a list in it is no list.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        # str(error) would quote the line, which may hold a token.
        mark = error.problem_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _broken(f"it is not YAML: {error.problem}{place}") from None
    except yaml.YAMLError as error:
        raise _broken(f"it is not YAML: {str(error).splitlines()[0]}") from None
    if root is None or root.tag == _NULL or (isinstance(root, MappingNode) and not root.value):
        root = yaml.compose(_EMPTY, Loader=yaml.SafeLoader)
    if not isinstance(root, MappingNode):
        raise _broken(f"it is a YAML {_kind(root)}, not a mapping")
    keys = [scalar(key) for key, _ in root.value]
    for key in (*LISTS, "current-context"):
        if keys.count(key) > 1:
            raise _broken(f"'{key}' is in it {keys.count(key)} times")
    for key in LISTS:
        value = get(root, key)
        if value is not None and value.tag != _NULL and not isinstance(value, SequenceNode):
            raise _broken(f"'{key}' is a YAML {_kind(value)}, not a list")
    return root


def write(root: MappingNode) -> str:
    """The text of a tree."""
    return str(yaml.serialize(root, Dumper=yaml.SafeDumper, width=_WIDTH, allow_unicode=True))


def get(node: Node | None, key: str) -> Node | None:
    """The value of a key; None where there is no such key, or the node is no mapping."""
    if not isinstance(node, MappingNode):
        return None
    return next((value for name, value in node.value if scalar(name) == key), None)


def put(node: MappingNode, key: str, value: Node) -> None:
    """Give a key a value, in its place if it is there, else at the end."""
    for index, (name, _) in enumerate(node.value):
        if scalar(name) == key:
            node.value[index] = (name, value)
            return
    node.value.append((text(key), value))


def items(root: MappingNode, key: str) -> list[Node]:
    """The entries of one of LISTS; `clusters: null`, which kubectl writes, counts as none."""
    value = get(root, key)
    return list(value.value) if isinstance(value, SequenceNode) else []


def name_of(entry: Node) -> str | None:
    """The name of an entry; None for what has none."""
    return scalar(get(entry, "name"))


def scalar(node: Node | None) -> str | None:
    """The text of a scalar, None for anything else."""
    return str(node.value) if isinstance(node, ScalarNode) else None


def text(value: str) -> ScalarNode:
    """A string; the writer quotes it where it would be read as something else."""
    return ScalarNode("tag:yaml.org,2002:str", value)


def mapping(**pairs: Node) -> MappingNode:
    """A mapping in the order given."""
    return MappingNode("tag:yaml.org,2002:map", [(text(key), value) for key, value in pairs.items()])


def sequence(entries: list[Node]) -> SequenceNode:
    """A list."""
    return SequenceNode("tag:yaml.org,2002:seq", entries)


def _kind(node: Node | None) -> str:
    return "list" if isinstance(node, SequenceNode) else "mapping" if isinstance(node, MappingNode) else "scalar"


def _broken(why: str) -> BrokenKubeconfig:
    return BrokenKubeconfig(
        "the kubeconfig cannot be read; it was left as it is",
        evidence=[why],
        todo=["repair it (kubectl config view shows what kubectl makes of it)", "or choose another: KUBECONFIG=FILE"],
    )
