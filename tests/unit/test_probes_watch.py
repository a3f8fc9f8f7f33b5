"""The probe that watches, against a real TLS server that falls silent."""

from __future__ import annotations

import threading

import probe_server
import pytest
from probe_server import PLENTY, SHORT, Server, cut, lane

from kubedrill.errors import KubedrillError
from kubedrill.probes.access import Access
from kubedrill.probes.watch import Watch
from kubedrill.probes.write import ApiWrite

keys, server, way = probe_server.keys, probe_server.server, probe_server.way  # fixtures


def test_a_watch_is_alive_while_it_tells_of_writes_and_not_when_it_is_silent(server: Server, way: Access) -> None:
    writer = ApiWrite(lane("write"), way.endpoint(), "r")
    probe = Watch(lane("watch"), way.endpoint(), "r", writer.newest, silence=0.5, recent=PLENTY)
    assert probe.ask(SHORT)[0] == "unknown"  # nothing was written yet
    assert writer.ask(PLENTY)[0] == "ok"
    outcome, detail = probe.ask(PLENTY)
    assert outcome == "ok"
    assert "write 1 seen after" in detail
    server.watching = False
    assert writer.ask(PLENTY)[0] == "ok"
    outcome, detail = probe.ask(SHORT)
    assert outcome == "failed"
    assert "write 2 not seen" in detail
    server.watching = True
    with server.lock:
        server.lock.notify_all()
    assert writer.ask(PLENTY)[0] == "ok"
    assert probe.ask(PLENTY)[0] == "ok"
    assert probe.own_cpu() > 0
    probe.close()
    with pytest.raises(KubedrillError, match="has died"):
        probe.ask(SHORT)


def test_a_watch_is_opened_anew(server: Server, way: Access) -> None:
    writer = ApiWrite(lane("write"), way.endpoint(), "r")
    probe = Watch(lane("watch"), way.endpoint(), "r", writer.newest, recent=PLENTY)
    server.refuse()
    server.accept()
    server.before = cut
    threading.Event().wait(SHORT)
    server.before = lambda handler: True
    assert writer.ask(PLENTY)[0] == "ok"
    assert probe.ask(PLENTY)[0] == "ok"
    probe.close()


def test_old_acknowledgements_prove_nothing(server: Server, way: Access) -> None:
    writer = ApiWrite(lane("write"), way.endpoint(), "r")
    probe = Watch(lane("watch"), way.endpoint(), "r", writer.newest, recent=0)
    assert writer.ask(PLENTY)[0] == "ok"
    assert probe.ask(PLENTY)[0] == "unknown"
    probe.close()
