"""Files of records: the vectors of specs/vectors/record-file.json, any split of them, and the bounds of a writer."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.publishers import Publisher

from samara.protocol import errors, limits
from samara.protocol.errors import RecordFileError
from samara.protocol.ids import PublisherId
from samara.protocol.ports import LogPage
from samara.protocol.trust import Ledger
from samara.protocol.trust.passing import whole_log
from samara.protocol.trust.recordfile import Item, Kind, RecordFileReader, RecordFileWriter

SPECS = Path(__file__).parents[3] / "specs" / "vectors"
ROWS: list[dict[str, Any]] = json.loads((SPECS / "record-file.json").read_text("ascii"))["vectors"]


def items_of(row: dict[str, Any]) -> list[Item]:
    return [
        Item(PublisherId(bytes.fromhex(publisher)), Kind(kind), bytes.fromhex(data))
        for publisher, kind, data in row["items"]
    ]


def read(pieces: list[bytes], into: list[Item]) -> None:
    reader = RecordFileReader()
    for piece in pieces:
        into += reader.receive(piece)
    reader.finish()


def written(*logs: tuple[PublisherId, LogPage]) -> bytes:
    writer = RecordFileWriter()
    return writer.begin() + b"".join(writer.publisher(publisher, log) for publisher, log in logs) + writer.end()


def written_up_to(items: list[Item]) -> bytes:
    """The bytes of a file of which these items are the first."""
    data, publisher = bytes(12), None
    for item in items:
        data += bytes(37 if item.publisher != publisher else 0) + bytes(5) + item.data
        publisher = item.publisher
    return data


def test_the_generator_reproduces_the_file() -> None:
    spec = importlib.util.spec_from_file_location("generate_record_file", SPECS / "generate_record_file.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.build() == (SPECS / "record-file.json").read_text("ascii")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_file_gives_what_it_holds_and_what_was_before_the_mistake(row: dict[str, Any], step: int) -> None:
    data, items = bytes.fromhex(row["hex"]), list[Item]()
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    if "error" not in row:
        read(pieces, items)
        assert items == items_of(row)
        return
    with pytest.raises(getattr(errors, row["error"])):
        read(pieces, items)
    assert items == items_of(row)


@given(st.data())
def test_every_cut_of_a_file_is_refused_and_loses_only_what_was_cut(data: st.DataObject) -> None:
    row = next(row for row in ROWS if row["name"] == "two publishers")
    whole, expected = bytes.fromhex(row["hex"]), items_of(row)
    cut = data.draw(st.integers(0, len(whole) - 1))
    items: list[Item] = []
    with pytest.raises(RecordFileError):
        read([whole[:cut]], items)
    whole_ones = sum(len(written_up_to(expected[:count])) <= cut for count in range(1, len(expected) + 1))
    assert items == expected[:whole_ones]


def test_a_ledger_that_was_written_and_read_is_the_same() -> None:
    anna, ben = Publisher.of("anna"), Publisher.of("ben")
    first = anna.release("1")
    anna.head(first)
    anna.revoke(first)
    thief = anna.copy()
    anna.publish("2")
    ledger = anna.ledger()
    with pytest.raises(errors.ForkError):
        ledger.admit(thief.publish("3").envelope)
    pair = sorted([ledger, ben.ledger()], key=lambda one: one.publisher)

    items: list[Item] = []
    read([written(*((one.publisher, whole_log(one)) for one in pair))], items)
    mine = [item for item in items if item.publisher == anna.chain.publisher]
    roots = [item.data for item in mine if item.kind is Kind.ROOT]
    assert roots == list(anna.chain.envelopes)
    records = [item.data for item in mine if item.kind is Kind.RECORD]
    assert records[0] == anna.said[1], "the revocation comes before all else"
    assert sorted(records) == sorted(anna.said)
    assert [item.kind for item in mine].count(Kind.FORK) == 1

    again = Ledger(anna.chain)
    for record in records:
        again.admit(record)
    assert again.newest == ledger.newest
    assert again.revocation(first.id) == ledger.revocation(first.id) != None  # noqa: E711 - neither may be None


def test_a_writer_keeps_to_what_a_reader_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogPage(roots=(b"r",), entries=(b"x" * 100,))
    a, b = PublisherId(b"a" * 32), PublisherId(b"b" * 32)
    with pytest.raises(ValueError, match="ascend"):
        written((b, log), (a, log))
    with pytest.raises(ValueError, match="ascend"):
        written((a, LogPage()))
    size = len(written((a, log)))
    monkeypatch.setattr("samara.protocol.trust.recordfile.MAX_RECORD_FILE", size)
    assert len(written((a, log))) == size
    with pytest.raises(RecordFileError):
        written((a, LogPage(roots=(b"r",), entries=(b"x" * 101,))))
    monkeypatch.setattr("samara.protocol.trust.recordfile.MAX_RECORD_FILE", limits.MAX_RECORD_FILE)
    monkeypatch.setattr("samara.protocol.trust.recordfile.MAX_FILE_PUBLISHERS", 1)
    with pytest.raises(RecordFileError):
        written((a, log), (b, log))


def test_an_endless_file_is_refused_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samara.protocol.trust.recordfile.MAX_RECORD_FILE", 5000)
    data = written((PublisherId(b"a" * 32), LogPage(roots=(b"r",), entries=(b"x" * 100,) * 40)))[:-37]
    reader = RecordFileReader()
    more = b"\4\1\0\0\0x" * ((5000 - len(data)) // 6)
    assert len(list(reader.receive(data + more))) == 41 + len(more) // 6
    with pytest.raises(RecordFileError):
        list(reader.receive(b"\4\1\0\0\0x"))
