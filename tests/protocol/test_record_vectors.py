"""Replays specs/vectors/records, and holds the files against their generator."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from samara.protocol import dsse, errors, ids, links, strictjson
from samara.protocol.ids import PublisherId, ReleaseId
from samara.protocol.licenses import judge, normalise
from samara.protocol.ports import Records
from samara.protocol.records import (
    Delegation,
    KeyRevocation,
    PublisherChain,
    ReleaseRevocation,
    Unread,
    Verified,
    verify_attestation,
    verify_collection,
    verify_delegation,
    verify_entry,
    verify_head,
    verify_key_binding,
    verify_release,
    verify_revocation,
)
from samara.protocol.trust import ForkProof, Ledger

VECTORS = Path(__file__).parents[2] / "specs" / "vectors"
Vector = dict[str, Any]


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / "records" / f"{name}.json").read_text("ascii"))
    return found


def each(name: str, *, good: bool) -> list[Any]:
    rows = [row for row in load(name)["vectors"] if ("error" not in row) is good]
    return [pytest.param(row, id=row["name"]) for row in rows]


def refused(vector: Vector) -> Any:
    return pytest.raises(getattr(errors, vector["error"]), check=lambda e: type(e).__name__ == vector["error"])


def test_the_generator_reproduces_the_files() -> None:
    spec = importlib.util.spec_from_file_location("generate_records", VECTORS / "generate_records.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built: dict[str, str] = module.build()
    assert built == {path.name: path.read_text("ascii") for path in (VECTORS / "records").iterdir()}


def json_bytes(vector: Vector) -> bytes:
    if "hex" in vector:
        return bytes.fromhex(vector["hex"])
    first, middle, last = (bytes.fromhex(vector[part]) for part in ("first", "repeat", "last"))
    times: int = vector["times"]
    return first + middle * times + last


@pytest.mark.parametrize("vector", each("json", good=True))
def test_json_is_read(vector: Vector) -> None:
    data = json_bytes(vector)
    assert strictjson.loads(data, max_bytes=load("json")["max_bytes"]) == json.loads(data)


@pytest.mark.parametrize("vector", each("json", good=False))
def test_json_is_refused(vector: Vector) -> None:
    with refused(vector):
        strictjson.loads(json_bytes(vector), max_bytes=load("json")["max_bytes"])


@pytest.mark.parametrize("vector", each("envelope", good=True))
def test_an_envelope_verifies(vector: Vector) -> None:
    decoded = dsse.Envelope.decode(vector["envelope"].encode())
    assert sorted(dsse.signers(decoded)) == vector["signers"]


@pytest.mark.parametrize("vector", each("envelope", good=False))
def test_an_envelope_is_refused(vector: Vector) -> None:
    with refused(vector):
        dsse.signers(dsse.Envelope.decode(vector["envelope"].encode()))


def verify_chain(vector: Vector) -> PublisherChain:
    expected = PublisherId(ids.parse_record(vector["expected"])) if "expected" in vector else None
    roots = [text.encode() for text in vector["roots"]] * vector.get("times", 1)
    return PublisherChain.verify(roots, expected=expected)


@pytest.mark.parametrize("vector", each("publisher", good=True))
def test_a_root_chain_verifies(vector: Vector) -> None:
    chain = verify_chain(vector)
    assert list(chain.current.keys) == vector["keys"]
    assert chain.current.threshold == vector["threshold"]
    assert chain.current.version == len(vector["roots"])
    if "publisher" in vector:
        assert ids.format_record(chain.publisher) == vector["publisher"]


@pytest.mark.parametrize("vector", each("publisher", good=False))
def test_a_root_chain_is_refused(vector: Vector) -> None:
    with refused(vector):
        verify_chain(vector)


def verify_vector(vector: Vector, chains: dict[str, list[str]]) -> Any:
    records = Records(
        roots=tuple(text.encode() for text in chains[vector["chain"]]),
        release=vector["release"].encode(),
        head=vector["head"].encode() if "head" in vector else None,
    )
    expected = ReleaseId(ids.parse_record(vector["expected"])) if "expected" in vector else None
    publisher = PublisherId(ids.parse_record(vector["publisher"])) if "publisher" in vector else None
    return verify_release(records, expected=expected, publisher=publisher)


@pytest.mark.parametrize("vector", each("release", good=True))
def test_a_release_verifies(vector: Vector) -> None:
    found = load("release")
    release = verify_vector(vector, found["chains"])
    assert ids.format_record(release.id) == vector["id"]
    assert release.signers.standing.value == vector["standing"]
    assert (release.head is not None) is ("head" in vector)
    release.check_table(found["table"].encode())


@pytest.mark.parametrize("vector", each("release", good=False))
def test_a_release_is_refused(vector: Vector) -> None:
    with refused(vector):
        verify_vector(vector, load("release")["chains"])


KINDS: dict[str, Any] = {
    "head": verify_head,
    "revocation": verify_revocation,
    "attestation": verify_attestation,
    "collection": verify_collection,
    "delegation": verify_delegation,
    "key-binding": verify_key_binding,
}


def chain_and_delegations(vector: Vector) -> tuple[PublisherChain, dict[bytes, Verified[Delegation]]]:
    chains = [PublisherChain.verify([text.encode() for text in roots]) for roots in load("log")["chains"].values()]
    known: dict[bytes, Verified[Delegation]] = {}
    for text in vector.get("delegations", ()):
        for chain in chains:
            try:
                found = verify_delegation(text.encode(), chain)
            except errors.RecordError:
                continue
            known[found.id] = found
    return PublisherChain.verify([text.encode() for text in load("log")["chains"][vector["chain"]]]), known


def verify_record(vector: Vector) -> Any:
    chain, known = chain_and_delegations(vector)
    more = [known] if vector["kind"] == "head" else []
    return KINDS[vector["kind"]](vector["record"].encode(), chain, *more)


@pytest.mark.parametrize("vector", each("log", good=True))
def test_a_record_of_a_log_verifies(vector: Vector) -> None:
    found = verify_record(vector)
    assert found.envelope == vector["record"].encode()
    if "id" in vector:
        assert ids.format_record(found.id) == vector["id"]
    assert verify_entry(found.envelope, *chain_and_delegations(vector)) == found


@pytest.mark.parametrize("vector", each("log", good=False))
def test_a_record_of_a_log_is_refused(vector: Vector) -> None:
    with refused(vector):
        verify_record(vector)


@pytest.mark.parametrize("vector", each("log", good=False))
def test_a_log_takes_nothing_of_a_record_that_is_refused(vector: Vector) -> None:
    """But for its place, where only its kind, or a critical field, is not known."""
    envelope, known = vector["record"].encode(), chain_and_delegations(vector)
    if vector["error"] == "CriticalError" or vector["name"].endswith((": another kind of record", "of it")):
        assert isinstance(verify_entry(envelope, *known).said, Unread)
    else:
        with refused(vector):
            verify_entry(envelope, *known)


def test_there_are_enough_negative_vectors_of_records() -> None:
    bad = [row for name in ("envelope", "publisher", "release", "log", "ledger") for row in each(name, good=False)]
    assert len(bad) >= 200


def play(ledger: Ledger, step: dict[str, Any]) -> None:
    if "record" in step:
        ledger.admit(step["record"].encode())
    elif "roots" in step:
        ledger.learn_roots(PublisherChain.verify([text.encode() for text in step["roots"]]))
    else:
        ledger.admit_fork(ForkProof(*(text.encode() for text in step["fork"])))


def ledger_of(vector: Vector) -> Ledger:
    return Ledger(PublisherChain.verify([text.encode() for text in load("ledger")["chains"][vector["chain"]]]))


def known_to(ledger: Ledger) -> dict[str, Any]:
    revocations = [entry.said for entry in ledger.revocations()]
    return {
        "tip": None if ledger.newest is None else ids.format_record(ledger.newest.id),
        "heads": {name: ids.format_record(head.head.release) for name, head in ledger.heads.items()},
        "missing": [list(gap) for gap in ledger.missing()],
        "revoked": sorted(ids.format_record(e.release) for e in revocations if isinstance(e, ReleaseRevocation)),
        "revoked_keys": sorted(said.key for said in revocations if isinstance(said, KeyRevocation)),
        "frozen": ledger.fork is not None,
    }


@pytest.mark.parametrize("vector", each("ledger", good=True))
def test_a_ledger_says_what_records_say_together(vector: Vector) -> None:
    ledger = ledger_of(vector)
    for step in vector["steps"]:
        play(ledger, step)
    known = known_to(ledger)
    assert known == known | {name: vector[name] for name in known.keys() & vector.keys()}


@pytest.mark.parametrize("vector", each("ledger", good=False))
def test_a_ledger_refuses_the_last_step(vector: Vector) -> None:
    ledger = ledger_of(vector)
    *steps, last = vector["steps"]
    for step in steps:
        play(ledger, step)
    with refused(vector):
        play(ledger, last)


def described(ref: links.Ref) -> dict[str, Any]:
    if isinstance(ref, links.ReleaseRef):
        return {"kind": "release", "release": ids.format_record(ref.release)}
    if isinstance(ref, links.NameRef):
        publisher = ref.publisher if isinstance(ref.publisher, str) else ids.format_record(ref.publisher)
        return {"kind": "name", "publisher": publisher, "name": ref.name, "version": ref.version}
    link = ref.link
    return {
        "kind": "link",
        "release": ids.format_record(link.release),
        "n": link.name,
        "k": None if link.publisher is None else ids.format_record(link.publisher),
        "public": link.public,
        "p": [{"text": peer.text, "dialable": peer.dialable} for peer in link.peers],
    }


@pytest.mark.parametrize("vector", each("ref", good=True))
def test_a_ref_is_read(vector: Vector) -> None:
    assert described(links.parse_ref(vector["text"])) == vector["value"]


@pytest.mark.parametrize("vector", each("ref", good=False))
def test_a_ref_is_refused_with_a_hint(vector: Vector) -> None:
    with refused(vector) as caught:
        links.parse_ref(vector["text"])
    assert caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("vector", load("license")["vectors"], ids=lambda vector: str(vector["said"]))
def test_a_licence_is_normalised_and_judged(vector: Vector) -> None:
    assert normalise(vector["said"]) == vector["license"]
    assert judge(vector["license"]).value == vector["redistribution"]
    assert normalise(vector["license"]) == vector["license"]
