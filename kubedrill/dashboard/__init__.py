"""A page that shows a cluster as it is, live, and changes nothing."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Callable

from kubedrill import cluster, paths
from kubedrill.dashboard.feed import Feed
from kubedrill.dashboard.hub import Hub
from kubedrill.dashboard.server import Server
from kubedrill.providers.base import Provider


def show(provider: Provider, name: str, port: int, tell: Callable[[str], None], *, browser: bool) -> None:
    """Serve the page of a cluster until Ctrl-C.

    Args:
        provider: where its nodes come from.
        name: its name.
        port: of 127.0.0.1; 0 for any that is free.
        tell: told where the page is.
        browser: open it, where there is a screen.

    Raises:
        NotFound: there is no such cluster.
        KubedrillError: the port is taken.
    """
    cluster.attach(provider, name)
    hub = Hub()
    with Server(hub, port) as server:
        feed = Feed(provider, name, paths.state() / "runs", hub)
        feed.start()
        tell(f"{name} is shown at {server.url} (Ctrl-C ends it)")
        try:
            # A browser of the terminal would take it from us.
            if browser and (sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)):
                webbrowser.open(server.url)
            server.serve_forever(0.1)
        except KeyboardInterrupt:
            tell("the dashboard has ended")
        finally:
            feed.stop()
