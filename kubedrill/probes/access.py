"""How to reach an API as an admin: an admin kubeconfig becomes TLS settings, with the server verified."""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kubedrill.errors import BrokenKubeconfig
from kubedrill.probes.wire import Endpoint


@dataclass(frozen=True)
class Access:
    """An admin's way to one API.

    Args:
        server: the URL that the kubeconfig names.
        tls: with the cluster's CA alone, and the client's certificate.
    """

    server: str
    tls: ssl.SSLContext

    def endpoint(self, url: str = "") -> Endpoint:
        """Where to connect to.

        Args:
            url: 'https://172.20.0.3:6443', one control plane; without it the kubeconfig's server. Its address must be
                in the server's certificate.
        """
        return Endpoint.of(url or self.server, self.tls)


def access(kubeconfig: str) -> Access:
    """The access that the current context of a kubeconfig gives.

    Args:
        kubeconfig: its text, with certificates and key in it (as kubeadm's admin.conf and `Cluster.admin_conf()`).

    Raises:
        BrokenKubeconfig: it is no such kubeconfig. Its content is not quoted: it holds a key.
    """
    try:
        root = yaml.safe_load(kubeconfig)
        context = _named(root, "contexts", "context", root["current-context"])
        cluster = _named(root, "clusters", "cluster", context["cluster"])
        user = _named(root, "users", "user", context["user"])
        authority, certificate, key = (
            base64.b64decode(where[name], validate=True)
            for where, name in (
                (cluster, "certificate-authority-data"),
                (user, "client-certificate-data"),
                (user, "client-key-data"),
            )
        )
        server = str(cluster["server"])
    except (yaml.YAMLError, KeyError, TypeError, StopIteration, binascii.Error) as error:
        raise BrokenKubeconfig(
            "the kubeconfig cannot be used by the probes",
            evidence=[f"its server, CA, client certificate and key could not all be read ({type(error).__name__})"],
        ) from None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_verify_locations(cadata=authority.decode("ascii"))
        # ssl reads a client's key from a file alone. A folder of mkdtemp is 0700.
        with tempfile.TemporaryDirectory(prefix="kubedrill-") as folder:
            file = Path(folder) / "client.pem"
            file.touch(mode=0o600)
            file.write_bytes(certificate.rstrip() + b"\n" + key)
            tls.load_cert_chain(file)
    except (ssl.SSLError, ValueError) as error:
        raise BrokenKubeconfig(
            "a certificate or key in the kubeconfig cannot be used", evidence=[type(error).__name__]
        ) from None
    return Access(server, tls)


def _named(root: dict[str, Any], key: str, content: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item[content] for item in root[key] if item["name"] == name)
    return found
