"""What probes put on record of a store, as Porcupine judges it."""

from __future__ import annotations

import time
from pathlib import Path

import probe_server
import pytest
from probe_server import PLENTY, Handler, Server, cut, fail, lane

from kubedrill import linearizability, porcupine
from kubedrill.probes.access import Access
from kubedrill.probes.operations import Operations
from kubedrill.probes.read import ApiRead
from kubedrill.probes.write import ApiWrite

keys, server, way = probe_server.keys, probe_server.server, probe_server.way  # fixtures


class TestHistory:
    """What probes put on record, as Porcupine judges it."""

    @pytest.fixture
    def record(self) -> Operations:
        return Operations(time.monotonic)

    def probes(self, way: Access, record: Operations) -> tuple[ApiWrite, ApiRead]:
        writer = ApiWrite(lane("write", interval=10), way.endpoint(), "r", history=record)
        return writer, ApiRead(lane(), way.endpoint(), writer.lists(), record)

    def test_each_question_that_was_answered_is_in_it(
        self, server: Server, way: Access, record: Operations, tmp_path: Path
    ) -> None:
        writer, reader = self.probes(way, record)
        assert writer.lists() == ("probe-r-00", "probe-r-01", "probe-r-02", "probe-r-03")
        assert reader.ask(PLENTY) == ("ok", "")  # it is not there yet
        for _ in range(5):
            assert writer.ask(PLENTY)[0] == "ok"
        assert [reader.ask(PLENTY) for _ in range(4)] == [("ok", "")] * 4
        writer.read_back()
        found = [one for one in record.all() if one.key == "probe-r-01"]
        one, two = linearizability.value((1,)), linearizability.value((1, 5))
        assert [(op.client, op.kind, op.before, op.after, op.seen, op.revision) for op in found] == [
            ("write", "read", "", "", "", None), ("write", "cas", "", one, "", 101),
            ("write", "cas", one, two, "", 105), ("read", "read", "", "", two, 105),
            ("write", "read", "", "", two, 105),
        ]  # fmt: skip
        assert all(op.outcome == "ok" and op.start <= op.end for op in found)
        assert porcupine.check(record.all(), None, tmp_path, lambda _: None).result == "linearizable"

    def test_what_had_no_answer_may_have_been_done(
        self, server: Server, way: Access, record: Operations, tmp_path: Path
    ) -> None:
        writer, reader = self.probes(way, record)
        for _ in range(4):
            writer.ask(PLENTY)
        server.after_put = cut
        assert writer.ask(PLENTY)[0] == "unknown"
        server.after_put, server.before = lambda handler: True, fail
        assert (writer.ask(PLENTY)[0], reader.ask(PLENTY)[0]) == ("unknown", "failed")
        server.before = lambda handler: True
        server.refuse()
        assert (writer.ask(PLENTY)[0], reader.ask(PLENTY)[0]) == ("failed", "failed")
        server.accept()
        assert [writer.ask(PLENTY)[0] for _ in range(4)] == ["ok"] * 4
        writer.read_back()
        writes = [op for op in record.all() if op.kind == "cas"]
        assert [op.outcome for op in writes] == ["ok"] * 4 + ["unknown"] * 2 + ["ok"] * 4
        assert porcupine.check(record.all(), None, tmp_path, lambda _: None).result == "linearizable"

    def test_a_conflict_is_not_certain(self, server: Server, way: Access, record: Operations, tmp_path: Path) -> None:
        """A server between asks twice: the second time there is a conflict with the first, which is then found."""
        writer, _ = self.probes(way, record)
        for _ in range(4):
            writer.ask(PLENTY)

        def twice(handler: Handler) -> bool:
            server.after_put = lambda handler: True
            handler.say(409, {"kind": "Status", "reason": "Conflict"})
            return False

        server.after_put = twice
        assert writer.ask(PLENTY)[0] == "ok"
        assert [op.outcome for op in record.all() if op.kind == "cas"] == ["ok"] * 4 + ["unknown"]
        assert porcupine.check(record.all(), None, tmp_path, lambda _: None).result == "linearizable"

    def test_a_store_that_answers_from_its_past_is_found_out(
        self, server: Server, way: Access, record: Operations, tmp_path: Path
    ) -> None:
        """The writes are all there in the end: only a read can tell."""
        writer, reader = self.probes(way, record)
        for _ in range(4):
            writer.ask(PLENTY)
        past = dict(server.maps)
        for _ in range(4):
            writer.ask(PLENTY)
        now, server.maps = server.maps, past
        assert [reader.ask(PLENTY)[0] for _ in range(4)] == ["ok"] * 4
        server.maps = now
        assert sorted(n for numbers in writer.read_back().values() for n in numbers) == list(range(1, 9))
        judged = porcupine.check(record.all(), None, tmp_path, lambda _: None)
        assert judged.result == "not linearizable"
        assert f"a read that saw '{linearizability.value((4,))}' (read," in judged.measured

    @pytest.mark.parametrize(
        "said",
        [
            {"kind": "Status", "reason": "Forbidden"}, {"kind": "ConfigMap"}, ["ConfigMap"], "404 page not found",
            {"kind": "Secret", "metadata": {"resourceVersion": "7"}},
        ],
    )  # fmt: skip
    def test_only_an_api_can_say_that_there_is_nothing(
        self, server: Server, way: Access, record: Operations, said: object
    ) -> None:
        def answer(handler: Handler) -> bool:
            handler.say(404, said)
            return False

        writer, reader = self.probes(way, record)
        server.before = answer
        assert (reader.ask(PLENTY)[0], writer.ask(PLENTY)[0]) == ("failed", "failed")
        assert record.all() == ()
