"""What an API server makes for itself when it starts, as a list by which that can be made a second earlier.

Its roles and priority classes: it waits a second after it begins to serve, and then makes some 140 objects one after
another (pkg/registry/rbac/rest/storage_rbac.go). What is there already it compares, and leaves as it is. Controllers,
scheduler and kubelets are refused until then, so `kubeadm init` in a node makes all of them at once instead
(images/files/usr/local/sbin/kubedrill-bootstrap-objects).
"""

from __future__ import annotations

import json
from pathlib import Path

from kubedrill import shell

PROGRAM = "bootstrap-objects"
# Where a node has the certificate and key of its super-admin.conf for as long as that takes, and the CA.
RIGHTS = "/run/kubedrill-rights.pem"
# How each is asked for, as curl reads it.
REQUEST = f"""\
url = "https://127.0.0.1:6443{{path}}"
cacert = "/etc/kubernetes/pki/ca.crt"
cert = "{RIGHTS}"
header = "Content-Type: application/json"
output = "/dev/null"
write-out = "%{{{{http_code}}}}\\n"
data = {{data}}
"""


def of(programs: Path) -> str:
    """The list of a Kubernetes version, as a configuration of curl.

    Args:
        programs: the folder with its binaries.

    Raises:
        CommandFailed: the program that knows them failed.
    """
    return requests(shell.run([str(programs / PROGRAM)]).stdout)


def requests(lines: str) -> str:
    """A configuration of curl that makes objects.

    Args:
        lines: as JSON, one on each: {"path": where they are created, "object": what}.
    """
    found = [json.loads(line) for line in lines.splitlines()]
    # Written as JSON twice: curl's quotes know the same escapes, of those that can be in JSON without line breaks.
    data = [json.dumps(json.dumps(one["object"], separators=(",", ":"))) for one in found]
    return "next\n".join(REQUEST.format(path=one["path"], data=text) for one, text in zip(found, data, strict=True))
