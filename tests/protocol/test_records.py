"""Roots, releases and heads as a publisher makes them and a stranger checks them; one named test an attack."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol import dsse, strictjson
from samara.protocol.dsse import Envelope, SigningKey
from samara.protocol.errors import (
    CriticalError,
    EnvelopeError,
    JsonError,
    RecordError,
    SamaraError,
    SignatureError,
    StatementError,
    TableError,
)
from samara.protocol.ids import ContentId, PublisherId, ReleaseId, digest, sha256
from samara.protocol.limits import MAX_TABLE
from samara.protocol.ports import Records
from samara.protocol.records import (
    Format,
    Kind,
    Lineage,
    PublisherChain,
    Release,
    Standing,
    VerifiedHead,
    VerifiedRelease,
    Visibility,
    format_time,
    is_displayable,
    make_genesis,
    make_head,
    make_next_root,
    make_release,
    newer_head,
    parse_time,
    verify_head,
    verify_release,
    verify_release_envelope,
)
from samara.protocol.records.root import ROOT_TYPE
from samara.protocol.records.statement import Subject, open_record, seal

ANNA, BEN, CLEO, THIEF = (SigningKey(bytes([n]) * 32) for n in (11, 12, 13, 14))
TABLE = b"the bytes of a file table"
CONTENT = ContentId(digest(b"the root node of its list"))
WHEN = "2026-05-06T07:08:09Z"


def chain_of(*keys: SigningKey, threshold: int = 1) -> PublisherChain:
    return PublisherChain.verify([make_genesis(keys, threshold)])


def followed(chain: PublisherChain, new: list[SigningKey], signing: list[SigningKey]) -> PublisherChain:
    return PublisherChain.verify([*chain.envelopes, make_next_root(chain, [key.did for key in new], signing)])


ONE = chain_of(ANNA)
TWO = followed(ONE, [BEN], [ANNA, BEN])


def claim(chain: PublisherChain = ONE, **changes: Any) -> Release:
    return dataclasses.replace(
        Release(
            kind=Kind.MODEL,
            publisher=chain.publisher,
            root=chain.current.version,
            name="tiny",
            version="1.0",
            issued=WHEN,
            content=CONTENT,
            bytes=1000,
            files=2,
            license="Apache-2.0",
            redistribute=True,
            format=Format(container="gguf", parameters=1_000),
            lineage=Lineage(datasets=("https://example.org/d",)),
            contributors=("Anna",),
        ),
        **changes,
    )


def released(chain: PublisherChain = ONE, keys: tuple[SigningKey, ...] = (ANNA,), **changes: Any) -> VerifiedRelease:
    return make_release(claim(chain, **changes), TABLE, chain, keys)


def records(release: VerifiedRelease, chain: PublisherChain = ONE, head: VerifiedHead | None = None) -> Records:
    return Records(chain.envelopes, release.envelope, head.envelope if head else None)


def headed(
    release: VerifiedRelease, previous: VerifiedHead | None = None, key: SigningKey = ANNA, chain: PublisherChain = ONE
) -> VerifiedHead:
    return make_head(
        chain, name=release.release.name, release=release.payload, previous=previous, issued=WHEN, keys=[key]
    )


# What a publisher makes.


def test_a_release_is_read_as_it_was_said() -> None:
    made = released()
    seen = verify_release(records(made), expected=made.id)
    assert seen.release == claim()
    assert seen.id == blake3(seen.payload).digest()
    assert seen.signers.keys == (ANNA.did,)
    assert seen.signers.standing is Standing.CURRENT
    seen.check_table(TABLE)
    seen.check_facts(content=CONTENT, total=1000, files=2)


def test_one_key_is_one_publisher_for_ever() -> None:
    assert make_genesis([ANNA]) == make_genesis([ANNA])
    assert make_genesis([ANNA, BEN]) == make_genesis([BEN, ANNA])
    assert chain_of(ANNA).publisher != chain_of(ANNA, BEN).publisher
    payload = json.loads(ONE.roots[0].payload)
    assert payload["subject"] == [
        {
            "name": ANNA.did,
            "digest": {"blake3": blake3(ANNA.public).hexdigest(), "sha256": sha256(ANNA.public).hex()},
        }
    ]
    assert payload["predicate"] == {"critical": [], "version": 1, "threshold": 1, "keys": [ANNA.did]}
    assert ONE.publisher == blake3(ONE.roots[0].payload).digest()


def test_more_signatures_never_change_the_id() -> None:
    alone, cosigned = released(), released(keys=(ANNA, CLEO))
    assert alone.id == cosigned.id
    assert alone.envelope != cosigned.envelope
    assert cosigned.signers.cosigners == (CLEO.did,)
    assert cosigned.signers.keys == (ANNA.did,)


def test_what_others_would_refuse_is_never_signed() -> None:
    with pytest.raises(StatementError):
        released(name="no/slash")
    with pytest.raises(SignatureError):
        released(keys=(THIEF,))
    with pytest.raises(StatementError):
        make_genesis([])
    with pytest.raises(EnvelopeError, match="twice"):
        make_genesis([ANNA, ANNA])
    with pytest.raises(StatementError):
        make_genesis([ANNA], threshold=2)
    with pytest.raises(SignatureError):
        make_next_root(ONE, [BEN.did], [BEN])
    with pytest.raises(EnvelopeError):
        released(contributors=tuple(f"{n:04}" + "\U0001f341" * 250 for n in range(1024)))
    with pytest.raises(StatementError):
        make_head(ONE, name="other", release=b"x", previous=headed(released()), issued=WHEN, keys=[ANNA])


def test_the_same_facts_are_recognised_whenever_issued() -> None:
    assert claim(issued="2030-01-01T00:00:00Z", root=7).says_the_same(claim())
    assert not claim(version="1.1").says_the_same(claim())
    assert not claim(redistribute=False).says_the_same(claim())


def test_two_of_three_must_sign() -> None:
    chain = chain_of(ANNA, BEN, CLEO, threshold=2)
    assert released(chain, (ANNA, CLEO)).signers.keys == tuple(sorted((ANNA.did, CLEO.did)))
    with pytest.raises(SignatureError, match="1 of the keys"):
        released(chain, (ANNA, THIEF))


# Bad records, by name.


def tampered(release: VerifiedRelease, old: bytes, new: bytes, *, sign_with: SigningKey | None = ANNA) -> bytes:
    """The envelope of a payload in which `old` became `new`; with the old signature when nobody signs it anew."""
    payload = release.payload.replace(old, new)
    assert payload != release.payload
    if sign_with is None:
        return Envelope(payload, Envelope.decode(release.envelope).signatures).encode()
    return dsse.sign(payload, [sign_with]).encode()


@pytest.mark.parametrize(
    ("old", "new", "signer", "error"),
    [
        pytest.param(b'"files":2', b'"files":3', None, SignatureError, id="a changed byte"),
        pytest.param(b'"files":2', b'"files":2,"files":2', ANNA, JsonError, id="duplicate keys"),
        pytest.param(b'"files":2', b'"files":2.0', ANNA, JsonError, id="a float"),
        pytest.param(b'"files":2', b'"files":NaN', ANNA, JsonError, id="NaN"),
        pytest.param(b'"files":2', b'"files":1e0', ANNA, JsonError, id="an exponent"),
        pytest.param(b'"files":2', b'"files":"2"', ANNA, StatementError, id="a number in a text"),
        pytest.param(b'"files":2', b'"files":2', THIEF, SignatureError, id="a signature by another key"),
        pytest.param(b'"critical":[]', b'"critical":["fee"],"fee":1', ANNA, CriticalError, id="unknown critical"),
        pytest.param(b"Anna", b"An\\u001b[2Jna", ANNA, StatementError, id="a terminal escape"),
        pytest.param(b"Anna", b"An\\u202ena", ANNA, StatementError, id="a bidirectional override"),
    ],
)
def test_a_bad_release_is_refused(old: bytes, new: bytes, signer: SigningKey | None, error: type[RecordError]) -> None:
    release = released()
    if old == new:
        envelope = dsse.sign(release.payload, [THIEF]).encode()
    else:
        envelope = tampered(release, old, new, sign_with=signer)
    with pytest.raises(error):
        verify_release_envelope(envelope, ONE)


def test_a_wrong_payload_type_is_refused() -> None:
    envelope = dsse.sign(released().payload, [ANNA], payload_type="application/json").encode()
    with pytest.raises(EnvelopeError, match="payload type"):
        verify_release_envelope(envelope, ONE)


def test_no_signature_is_refused() -> None:
    with pytest.raises(SignatureError, match="no signature"):
        verify_release_envelope(Envelope(released().payload, ()).encode(), ONE)


def test_nothing_unsigned_is_parsed() -> None:
    # A payload that is not even JSON: the signature is what is wrong with it.
    forged = Envelope(b"\xff" * 40, Envelope.decode(released().envelope).signatures).encode()
    with pytest.raises(SignatureError):
        verify_release_envelope(forged, ONE)


def test_the_table_must_be_the_one_that_was_signed() -> None:
    release = released()
    with pytest.raises(TableError):
        release.check_table(TABLE + b"\0")
    with pytest.raises(TableError):
        dataclasses.replace(release, subject=dataclasses.replace(release.subject, sha256=bytes(32))).check_table(TABLE)
    with pytest.raises(TableError):
        dataclasses.replace(release, subject=dataclasses.replace(release.subject, blake3=bytes(32))).check_table(TABLE)


def test_a_table_is_measured_before_it_is_hashed() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return MAX_TABLE + 1

    with pytest.raises(TableError, match="at most"):
        released().check_table(Huge())


@pytest.mark.parametrize(
    "facts",
    [
        {"content": ContentId(bytes(32)), "total": 1000, "files": 2},
        {"content": CONTENT, "total": 999, "files": 2},
        {"content": CONTENT, "total": 1000, "files": 3},
    ],
    ids=["content", "bytes", "files"],
)
def test_what_a_release_says_of_its_table_must_be_true(facts: dict[str, Any]) -> None:
    with pytest.raises(StatementError):
        released().check_facts(**facts)


# Attacks, by name.


def test_mix_and_match_a_release_of_another_publisher() -> None:
    thief = chain_of(THIEF)
    stolen = released()
    with pytest.raises(StatementError, match="publisher"):
        verify_release(records(stolen, thief), expected=None)
    with pytest.raises(StatementError):
        verify_release(records(released(thief, (THIEF,)), thief), expected=stolen.id)


def test_mix_and_match_a_link_with_another_publisher() -> None:
    release = released()
    assert verify_release(records(release), expected=release.id, publisher=ONE.publisher).id == release.id
    with pytest.raises(StatementError):
        verify_release(records(release), expected=release.id, publisher=chain_of(THIEF).publisher)


def test_mix_and_match_a_head_of_another_release() -> None:
    old, new = released(), released(version="2.0")
    with pytest.raises(StatementError, match="names release"):
        verify_release(records(old, head=headed(new)), expected=None)


def test_rollback_of_roots_by_an_old_chain() -> None:
    release = released()
    fresh = verify_release(records(release, ONE), expected=release.id)
    assert fresh.signers.standing is Standing.CURRENT
    # The same envelopes, to one who has seen the key replaced:
    warned = verify_release(records(release, ONE), expected=release.id, known=TWO)
    assert warned.signers.standing is Standing.RETIRED
    assert warned.publisher == TWO


def test_replay_by_a_stolen_key_that_was_replaced() -> None:
    forged = released(name="tiny", version="evil")
    seen = verify_release(records(forged, TWO), expected=None)
    assert seen.signers.standing is Standing.RETIRED
    assert seen.signers.root == 1
    # The thief cannot vouch for it, and cannot claim the new root.
    vouched = verify_release(records(forged, TWO, headed(forged)), expected=None)
    assert vouched.signers.standing is Standing.RETIRED
    assert vouched.head is not None
    assert vouched.head.signers.standing is Standing.RETIRED
    with pytest.raises(SignatureError):
        make_release(claim(TWO), TABLE, TWO, [ANNA])


def test_an_old_release_that_a_current_head_names() -> None:
    release = released()
    seen = verify_release(records(release, TWO, headed(release, key=BEN, chain=TWO)), expected=release.id)
    assert seen.signers.standing is Standing.VOUCHED


def test_a_rotation_that_keeps_the_old_key_retires_nothing() -> None:
    wider = followed(ONE, [ANNA, BEN], [ANNA, BEN])
    release = released()
    assert verify_release(records(release, wider), expected=None).signers.standing is Standing.CURRENT


def test_a_raised_threshold_retires_what_one_key_signed() -> None:
    envelope = make_next_root(ONE, [ANNA.did, BEN.did], [ANNA, BEN], threshold=2)
    raised = PublisherChain.verify([*ONE.envelopes, envelope])
    assert verify_release(records(released(), raised), expected=None).signers.standing is Standing.RETIRED


def test_a_sequence_that_begins_anew_under_a_new_root_is_no_fork() -> None:
    wider = followed(ONE, [ANNA, BEN], [ANNA, BEN])
    before = verify_head(headed(released()).envelope, wider)
    anew = headed(released(), key=BEN, chain=wider)
    assert before.signers.standing is anew.signers.standing is Standing.CURRENT
    assert before.head.sequence == anew.head.sequence
    assert newer_head(before, anew) is anew
    assert newer_head(anew, before) is anew


def test_a_fork_of_the_root_chain() -> None:
    other = followed(ONE, [CLEO], [ANNA, CLEO])
    with pytest.raises(StatementError, match="two different roots of version 2"):
        TWO.join(other)
    with pytest.raises(StatementError):
        verify_release(records(released(), other), expected=None, known=TWO)
    assert TWO.join(ONE) is TWO
    assert ONE.join(TWO) is TWO
    with pytest.raises(StatementError, match="two publishers"):
        ONE.join(chain_of(THIEF))


def test_rollback_of_a_name_by_an_old_head() -> None:
    first = headed(released())
    second = headed(released(version="2.0"), first)
    assert newer_head(first, second) is second
    assert newer_head(second, first) is second
    assert newer_head(second, second) is second


def test_a_gap_between_heads_is_no_fork() -> None:
    first = headed(released())
    third = headed(released(version="3.0"), headed(released(version="2.0"), first))
    assert newer_head(first, third) is third
    assert newer_head(third, first) is third


def test_two_heads_of_one_sequence_are_a_fork() -> None:
    first = headed(released())
    with pytest.raises(StatementError, match="one position"):
        newer_head(first, headed(released(version="2.0")))


def test_a_next_head_on_another_previous_one_is_a_fork() -> None:
    first, twin = headed(released()), headed(released(version="0.9"))
    second = headed(released(version="2.0"), twin)
    for a, b in ((first, second), (second, first)):
        with pytest.raises(StatementError, match="one position"):
            newer_head(a, b)


def test_fast_forward_is_outranked_by_a_new_root() -> None:
    release = released()
    furthest = dataclasses.replace(headed(release), head=dataclasses.replace(headed(release).head, sequence=2**53 - 1))
    recovered = headed(release, key=BEN, chain=TWO)
    assert recovered.head.sequence == 1
    assert newer_head(furthest, recovered) is recovered


def test_a_retired_head_moves_nothing() -> None:
    old = released(version="9.9")
    stolen = verify_head(headed(old, headed(released())).envelope, TWO)
    current = headed(released(), key=BEN, chain=TWO)
    assert stolen.signers.standing is Standing.RETIRED
    assert newer_head(current, stolen) is current
    assert newer_head(stolen, current) is current


def test_heads_of_two_names_are_not_compared() -> None:
    with pytest.raises(StatementError, match="different names"):
        newer_head(headed(released()), headed(released(name="other")))


def test_a_chain_that_is_too_short_for_the_release() -> None:
    release = released(TWO, (BEN,))
    with pytest.raises(StatementError, match="only roots 1 to 1") as caught:
        verify_release(records(release, ONE), expected=None)
    assert "newer root chain" in caught.value.hint


def test_a_wrong_beginning_is_refused_before_a_long_chain_is_verified() -> None:
    rubbish = [*ONE.envelopes, b"not even JSON"]
    with pytest.raises(StatementError, match="the chain of"):
        PublisherChain.verify(rubbish, expected=PublisherId(bytes(32)))


# A kind of record that does not exist yet.


def test_a_new_kind_of_record_needs_only_a_type_a_validator_and_a_view() -> None:
    about = Subject.of("release", released().payload)
    envelope = seal(about, "urn:samara:vote:1", {"critical": [], "says": "yes", "later": {"x": [1]}}, [CLEO])
    opened = open_record(envelope, "urn:samara:vote:1", {"critical", "says"})
    assert opened.fields.text("says") == "yes"
    assert opened.signed == {CLEO.did}
    assert opened.subject == about
    with pytest.raises(StatementError, match="predicateType"):
        open_record(envelope, ROOT_TYPE, {"critical"})


# Whatever comes.

TEXT = st.text(max_size=20).filter(is_displayable)
CLAIMS = st.builds(
    claim,
    kind=st.sampled_from(Kind),
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", fullmatch=True),
    version=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", fullmatch=True),
    issued=st.integers(0, 253402300799).map(format_time),
    bytes=st.integers(0, 2**53 - 1),
    files=st.integers(1, 1_000_000),
    license=st.sampled_from(["NOASSERTION", "MIT", "(MIT OR Apache-2.0)"]),
    redistribute=st.booleans(),
    visibility=st.sampled_from(Visibility),
    format=st.builds(Format, architecture=st.none() | TEXT, memory_bytes=st.none() | st.integers(0, 2**53 - 1)),
    lineage=st.builds(Lineage, bases=st.lists(TEXT, unique=True, max_size=3).map(tuple)),
    contributors=st.lists(TEXT, unique=True, max_size=3).map(tuple),
)


@given(CLAIMS)
def test_any_release_comes_back_as_it_was_said(release: Release) -> None:
    made = make_release(release, TABLE, ONE, [ANNA])
    seen = verify_release(records(made), expected=made.id)
    assert seen == made
    assert seen.release == release
    assert strictjson.dumps(strictjson.loads(seen.payload, max_bytes=10**6)) == seen.payload


@settings(max_examples=200)
@given(st.data())
def test_no_changed_byte_of_a_release_verifies(data: st.DataObject) -> None:
    good = released()
    envelope = bytearray(good.envelope)
    at = data.draw(st.integers(0, len(envelope) - 1))
    envelope[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SamaraError):
        verify_release(Records(ONE.envelopes, bytes(envelope)), expected=good.id)


SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5) | st.just([]) | st.just({})
)
PREDICATE = json.loads(released().payload)["predicate"]


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from([*sorted(PREDICATE), "later"]), SCALARS, max_size=3), st.booleans())
def test_random_fields_raise_nothing_but_record_errors(changes: dict[str, Any], in_statement: bool) -> None:
    statement = json.loads(released().payload)
    (statement if in_statement else statement["predicate"]).update(changes)
    if in_statement and "name" in changes:
        statement["subject"] = changes["name"]
    payload = json.dumps(statement).encode("utf-8", "surrogatepass")
    try:
        seen = verify_release_envelope(dsse.sign(payload, [ANNA]).encode(), ONE)
    except RecordError:
        return
    assert seen.payload == payload


@given(st.binary(max_size=100), st.sampled_from(["root", "release", "head"]))
def test_random_bytes_raise_nothing_but_samara_errors(data: bytes, where: str) -> None:
    good = released()
    made = {"roots": ONE.envelopes, "release": good.envelope, "head": None}
    made |= {"roots": (data,)} if where == "root" else {where: data}
    with pytest.raises(SamaraError):
        verify_release(Records(**made), expected=ReleaseId(good.id))  # type: ignore[arg-type]


@given(st.text(max_size=30))
def test_no_text_that_may_be_shown_has_a_control_or_a_direction(text: str) -> None:
    import unicodedata

    if is_displayable(text):
        bad = {"RLE", "LRE", "PDF", "RLO", "LRO", "RLI", "LRI", "FSI", "PDI"}
        assert not any(unicodedata.category(c) == "Cc" or unicodedata.bidirectional(c) in bad for c in text)
        assert text == text.strip(" ")
        assert 0 < len(text) <= 256


def test_every_control_of_unicode_is_unfit() -> None:
    import unicodedata

    shown = {chr(n) for n in range(0x110000) if unicodedata.category(chr(n)) in ("Cc", "Cf", "Zl", "Zp", "Cs")}
    # What is let through: joiners, and format characters of scripts and notations that show or group visible signs.
    passed = sorted(f"{ord(c):X}" for c in shown if is_displayable(c))
    assert passed[:3] == ["110BD", "110CD", "13430"]
    assert {"200C", "200D", "600", "6DD", "70F"} <= set(passed)
    assert not {"200B", "200E", "200F", "202E", "2066", "FEFF", "61C", "2028", "E0001", "E0041", "AD"} & set(passed)


@given(st.integers(0, 253402300799))
def test_times_come_back_and_sort(seconds: int) -> None:
    assert parse_time(format_time(seconds)) == seconds
    assert (format_time(seconds) < format_time(253402300799)) is (seconds < 253402300799)


@pytest.mark.parametrize("seconds", [-1, 253402300800, 10**30])
def test_a_time_that_no_record_can_state(seconds: int) -> None:
    with pytest.raises(StatementError):
        format_time(seconds)


def test_a_chain_as_long_as_allowed_verifies() -> None:
    envelopes = list(ONE.envelopes)
    previous = ONE.roots[0].payload
    while len(envelopes) < 256:
        predicate = {"critical": [], "version": len(envelopes) + 1, "threshold": 1, "keys": [ANNA.did]}
        envelopes.append(seal(Subject.of("root", previous), ROOT_TYPE, predicate, [ANNA]))
        previous = base64.b64decode(json.loads(envelopes[-1])["payload"])
    assert PublisherChain.verify(envelopes, expected=ONE.publisher).current.version == 256
