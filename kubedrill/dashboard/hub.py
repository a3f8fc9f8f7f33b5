"""What is shown right now, by section, and who waits for a change of it."""

from __future__ import annotations

import json
import threading


class Hub:
    """Takes what is to be shown, and gives each who asks what has changed since they last did."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._version = 0
        self._sections: dict[str, tuple[int, str]] = {}
        self._closed = False

    def publish(self, section: str, content: object) -> None:
        """Show something; the same again is no change.

        Args:
            section: its name.
            content: what JSON can hold.
        """
        text = json.dumps(content, separators=(",", ":"))
        with self._changed:
            if self._sections.get(section, (0, ""))[1] == text:
                return
            self._version += 1
            self._sections[section] = (self._version, text)
            self._changed.notify_all()

    def since(self, version: int, timeout: float) -> tuple[int, dict[str, str]] | None:
        """Wait for a change.

        Args:
            version: what the last call gave; 0 at first, for all there is.
            timeout: seconds to wait at most.

        Returns:
            (version, the sections that have changed, as JSON); none of them when the time ran out; None at the end.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version > version or self._closed, timeout)
            if self._closed:
                return None
            new = {name: text for name, (made, text) in self._sections.items() if made > version}
            return self._version, new

    def close(self) -> None:
        """Nothing more will come: all who wait are let go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
