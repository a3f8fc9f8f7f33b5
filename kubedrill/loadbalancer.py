"""The balancer in front of several control planes: pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Literal

from kubedrill.network import API_PORT

CONFIG_PATH = "/etc/haproxy/haproxy.cfg"
SOCKET = "/run/haproxy.sock"
State = Literal["drain", "ready"]
# Where a control plane tells with which weight it is to be sent to: images/files/usr/local/sbin/kubedrill-weight.
WEIGHT_PORT = 6444
# Ends the name of a control plane's second entry, for when all first entries weigh nothing.
ANYWAY = ":anyway"


def haproxy_config(control_planes: Mapping[str, str], closed: Collection[str] = ()) -> str:
    """HAProxy's configuration: TLS passes through, health is the API server's own /readyz.

    Args:
        control_planes: {node name: address}, also of those that do not run yet.
        closed: names of those to which nothing is sent before `admit` opens them: HAProxy takes a server that is new
            for a good one until its checks have failed. One that does not run yet would be sent every other connection
            for a second, and these would be closed when it is found to be down.
    """
    settings = f"check check-ssl verify none agent-check agent-port {WEIGHT_PORT}"
    entries = {
        f"{name} {address}:{API_PORT}": f"{settings} disabled" if name in closed else settings
        for name, address in control_planes.items()
    }
    # Who weighs nothing is better than nobody: these stand in, with the state of the first entries.
    entries |= {
        f"{name}{ANYWAY} {address}:{API_PORT}": f"track control-planes/{name} backup"
        for name, address in control_planes.items()
    }
    servers = "\n".join(f"    server {entry} {words}" for entry, words in entries.items())
    # A control plane is out 2 failed checks after it dies (1 s), and its connections are closed at once, so that
    # clients with a connection to a dead node notice it too. The check's TLS is not verified: the balancer exists
    # before the CA, and the traffic that passes through is verified end to end.
    # Two API servers that share a port also share the checks: the ready one answers for the other. A control plane on
    # which one replaces the other says so itself, and weighs nothing meanwhile. Where nobody listens for such questions
    # (all control planes but self-hosted ones) HAProxy goes by its checks.
    # https://docs.haproxy.org/2.6/configuration.html#5.2-agent-check
    return f"""\
global
    log stdout format raw local0 notice
    maxconn 4096
    stats socket {SOCKET} mode 600 level admin

defaults
    mode tcp
    log global
    option dontlognull
    option tcpka
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 2s
    retries 2
    option redispatch 1

frontend api
    bind :{API_PORT}
    default_backend control-planes

frontend health
    mode http
    bind 127.0.0.1:8404
    stats enable
    stats uri /

backend control-planes
    balance roundrobin
    option allbackups
    option httpchk
    http-check send meth GET uri /readyz
    http-check expect status 200
    default-server inter 500ms fastinter 250ms downinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
    default-server agent-inter 1s
{servers}
"""


def set_state(name: str, state: State) -> tuple[str, ...]:
    """The command, on the balancer, that takes a control plane out before it is worked on, or in again.

    With 'drain' it gets no new connections; those that it has go on.
    https://docs.haproxy.org/2.6/management.html#9.3 (set server)

    Args:
        name: the control plane's node name.
        state: drain or ready.
    """
    return _order(f"set server control-planes/{name} state {state}")


def trust(name: str) -> tuple[str, ...]:
    """The command, on the balancer, that has it send to a control plane whatever that says of itself.

    The API serves those with rights of their own two seconds before it calls itself ready; that is when the first
    control plane of a cluster needs it most, and there is no other one. https://docs.haproxy.org/2.6/management.html#9.3

    Args:
        name: the control plane's node name.
    """
    return _order(f"disable health control-planes/{name}; set server control-planes/{name} health up")


def admit(name: str) -> tuple[str, ...]:
    """The command, on the balancer, that opens a control plane: it is sent to once a check says that it is well.

    https://docs.haproxy.org/2.6/management.html#9.3 (set server, show info)

    Args:
        name: the control plane's node name.

    Returns:
        A command whose output tells which process has done it.
    """
    server = f"control-planes/{name}"
    return _order(f"set server {server} state ready; set server {server} health down; show info")


def ask() -> tuple[str, ...]:
    """The command, on the balancer, whose output tells which process answers."""
    return _order("show info")


def process(said: str) -> str:
    """Which process it was that answered; empty for a balancer without a socket.

    Args:
        said: the output of `ask` or `admit`.
    """
    found = re.search(r"^Pid: (\d+)", said, re.MULTILINE)
    return found[1] if found else ""


def check(name: str) -> tuple[str, ...]:
    """The command, on the balancer, by which it goes by its checks of a control plane again.

    Args:
        name: the control plane's node name.
    """
    return _order(f"enable health control-planes/{name}")


def take_in(name: str) -> tuple[str, ...]:
    """The command, on the balancer, that lets a control plane in again that no longer tells its weight.

    Args:
        name: the control plane's node name.
    """
    return _order(f"set server control-planes/{name} state ready; set server control-planes/{name} weight 100%")


def _order(words: str) -> tuple[str, ...]:
    # A balancer that was made before it had this socket balances all the same.
    return ("sh", "-c", f"[ -S {SOCKET} ] || exit 0; echo '{words}' | socat -t 5 - {SOCKET}")
