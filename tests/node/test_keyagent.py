"""Keys in an agent: a real ssh-agent signs for a home; one that lies, stalls or floods ends in an error of its own."""

from __future__ import annotations

import os
import resource
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from support.agents import RealAgent, hostile_agent, identities, needs_agent, real_agent, signature, string
from support.contents import Source, give_home
from support.speaking import publisher_of, release_of, tell

from samara.node.keyagent import AgentSigner, KeyAgent
from samara.node.operations import keys as key_operations
from samara.node.operations import roots
from samara.node.operations.keys import (
    AgentKeysRequest,
    BackupRequest,
    ProtectRequest,
    RestoreRequest,
    UnprotectRequest,
)
from samara.node.operations.oms import AttestOmsRequest, attest
from samara.node.operations.refs import own_publisher, signing_keys
from samara.node.operations.roots import RotateRequest, SignRequest, UseAgentRequest
from samara.node.operations.signing import AttestRequest, RevokeRequest, revoke
from samara.node.operations.signing import attest as claim
from samara.node.store.store import Store
from samara.node.wordlist import word_list
from samara.protocol import limits
from samara.protocol.dsse import SigningKey
from samara.protocol.errors import (
    AgentAnswerError,
    AgentAwayError,
    AgentError,
    AgentKeyError,
    AgentRefusedError,
    AgentTimeoutError,
    KeyFileError,
    LockedKeyError,
    OperationError,
    UsageError,
)
from samara.protocol.ids import format_record
from samara.protocol.keyfile import AgentKey, SealedKey, decode_publisher_file
from samara.protocol.limits import MIN_KEY_LOG_N
from samara.protocol.records import Standing, verify_release

SEED, OTHER = b"\x21" * 32, b"\x22" * 32
MINE, THEIRS = SigningKey(SEED), SigningKey(OTHER)
PASSPHRASE = "winged seeds of maple"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the agents of these tests are on Unix sockets")


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent of whoever runs the tests is asked; and sealing costs as little as is read."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    seal = SealedKey.seal
    monkeypatch.setattr(
        SealedKey, "seal", staticmethod(lambda *args, **named: seal(*args, **named, log_n=MIN_KEY_LOG_N))
    )


@pytest.fixture
def agent() -> Iterator[RealAgent]:
    with real_agent() as running:
        running.add(SEED, "mine")
        yield running


def use(store: Store, agent: RealAgent, key: SigningKey = MINE, passphrase: str = "") -> roots.RootMade:
    return roots._use_agent(store, UseAgentRequest(key.did, agent.socket, passphrase))


def published(store: Store, base: Path, name: str) -> Source:
    path = base / name
    path.write_bytes(os.urandom(1000))
    return Source.publish(store, path)


def standing(store: Store, source: Source) -> Standing:
    records = store.catalog.records(source.release)
    assert records is not None
    return verify_release(records, expected=source.release).signers.standing


# A real agent


@needs_agent
def test_a_key_of_an_agent_is_a_new_homes_first_and_signs_all_that_is_signed(agent: RealAgent, tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        made = use(store, agent)
        assert (made.version, made.complete, made.kept, made.key) == (1, True, True, MINE.did)
        assert [key.did for key in signing_keys(store, own_publisher(store))] == [MINE.did]
        sources = [published(store, tmp_path, name) for name in ("a", "b")]
        ids = [format_record(source.release) for source in sources]
        assert claim(store, AttestRequest(ids[0], "reviewed")).position == 3
        assert attest(store, AttestOmsRequest(ids[0], str(tmp_path / "a.sig")), lambda n, p: None, lambda: False).record
        assert revoke(store, RevokeRequest(ids[1], reason="broken")).position == 5
        assert all(SEED not in path.read_bytes() for path in store.home.root.rglob("*") if path.is_file())
    with give_home(tmp_path / "home") as store:
        store.keys.agent.tell(agent.socket)
        own = own_publisher(store)
        assert format_record(own.publisher) == made.publisher
        assert standing(store, sources[0]) is Standing.CURRENT
        shown = key_operations._state(store)
        assert (shown.where, shown.protected, shown.speaks) == ("agent", False, True)
        # The agent's own signature of a release is the one that the seed makes: it is plain Ed25519.
        assert SigningKey(SEED).sign(b"m") == AgentSigner(agent.socket, MINE.public).sign(b"m")


@needs_agent
def test_a_key_of_an_agent_takes_the_place_of_a_file_and_a_file_of_an_agents(agent: RealAgent, tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        source = published(store, tmp_path, "a")
        before, oms = own_publisher(store), store.oms.key().public
        key_operations._protect(store, ProtectRequest(PASSPHRASE))
        with pytest.raises(LockedKeyError):
            use(store, agent)
        made = use(store, agent, passphrase=PASSPHRASE)
        assert (made.version, made.complete, made.heads, made.left) == (2, True, 1, ())
        after = own_publisher(store)
        assert (after.publisher, after.key) == (before.publisher, MINE.did)
        assert standing(store, source) is Standing.VOUCHED
        there = store.oms.public()
        assert there is not None
        assert there.hint == oms.hint
        aside = store.home.root / f"publisher-{before.key.removeprefix('did:key:')}.key"
        assert len(aside.read_bytes()) == 107
        with pytest.raises(UsageError, match="already"):
            use(store, agent)
        agent.add(OTHER, "theirs")
        assert use(store, agent, THEIRS).version == 3
        back = roots._rotate(store, RotateRequest())
        assert (back.version, back.complete) == (4, True)
        assert key_operations._state(store).where == "file"
        assert len((store.home.root / "publisher.key").read_bytes()) == 32
        assert standing(store, published(store, tmp_path, "b")) is Standing.CURRENT
        assert own_publisher(store).publisher == before.publisher


@needs_agent
def test_a_seed_that_is_not_here_is_said_to_be_there(agent: RealAgent, tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        use(store, agent)
        for call in (
            lambda: key_operations._backup(store, BackupRequest()),
            lambda: key_operations._protect(store, ProtectRequest(PASSPHRASE)),
            lambda: key_operations._unprotect(store, UnprotectRequest()),
        ):
            with pytest.raises(OperationError, match="in an agent: its seed is not here"):
                call()
        # An OMS key is in a file there: it has words, and a passphrase.
        words = key_operations._backup(store, BackupRequest(oms=True))
        assert key_operations._protect(store, ProtectRequest(PASSPHRASE)).protected
        with pytest.raises(LockedKeyError):
            store.oms.key()
        assert not key_operations._unprotect(store, UnprotectRequest(PASSPHRASE)).protected
        assert store.oms.key().public.hint == words.key
        # Words of another key make it one in a file again; the agent's is kept aside.
        seed = " ".join(word_list().of_seed(OTHER))
        with pytest.raises(UsageError, match=MINE.did):
            key_operations._restore(store, RestoreRequest(seed))
        assert key_operations._restore(store, RestoreRequest(seed, MINE.did)).where == "file"
        kept = store.home.root / f"publisher-{MINE.did.removeprefix('did:key:')}.key"
        assert decode_publisher_file(kept.read_bytes()) == AgentKey(MINE.public)


@needs_agent
def test_two_devices_of_which_one_has_an_agent_sign_one_root(agent: RealAgent, tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        use(a, agent)
        publisher = format_record(own_publisher(a).publisher)
        made = roots._change(a, roots.ChangeRequest(add=(own_publisher(b).key,), threshold=2))
        assert (made.complete, made.old, made.new) == (False, 0, 1)
        there = roots._sign(b, SignRequest(made.file, become=publisher))
        assert there.kept
        assert roots._sign(a, SignRequest(there.file)).kept
        back = roots._change(b, roots.ChangeRequest(threshold=1))
        assert roots._sign(a, SignRequest(back.file)).kept
        assert standing(a, published(a, tmp_path, "w")) is Standing.CURRENT


@needs_agent
def test_only_ed25519_keys_are_usable_and_the_others_are_listed_as_such(agent: RealAgent, tmp_path: Path) -> None:
    agent.make("ecdsa", "curve of nist")
    agent.make("rsa", "old")
    with give_home(tmp_path / "home") as store:
        store.keys.agent.tell(agent.socket)
        found = key_operations._agent_keys(store, AgentKeysRequest())
        assert not store.keys.path.exists(), "to look makes no key"
        kinds = {row.kind: row.usable for row in found.keys}
        assert kinds == {"ssh-ed25519": True, "ecdsa-sha2-nistp256": False, "ssh-rsa": False}
        assert {"curve of nist", "old"} <= {row.comment for row in found.keys}
        assert all(row.fingerprint in agent.lines() for row in found.keys)
        assert [row.key for row in found.keys if row.usable] == [MINE.did]


@needs_agent
def test_an_agent_that_is_away_or_lost_its_key_is_told_before_anything_is_hashed(
    agent: RealAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with give_home(tmp_path / "home") as store:
        use(store, agent)
        roots_before = (store.home.root / "publisher.roots").read_bytes()
        agent.forget()
        with pytest.raises(AgentKeyError, match=MINE.did):
            published(store, tmp_path, "a")
        agent.add(OTHER, "theirs")
        with pytest.raises(AgentKeyError, match=MINE.did):
            published(store, tmp_path, "a")
        # Of two agents the one that has it is taken, wherever the other leads.
        monkeypatch.setenv("SSH_AUTH_SOCK", agent.socket)
        agent.add(SEED, "mine")
        store.keys.agent.tell(str(tmp_path / "nowhere"))
        assert standing(store, published(store, tmp_path, "a")) is Standing.CURRENT
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nowhere either"))
        with pytest.raises(AgentAwayError, match="no agent answers at"):
            published(store, tmp_path, "b")
        assert (store.home.root / "publisher.roots").read_bytes() == roots_before
    with give_home(tmp_path / "home") as store:
        monkeypatch.delenv("SSH_AUTH_SOCK")
        assert own_publisher(store).key == MINE.did, "whose home it is, needs no agent"
        with pytest.raises(AgentAwayError, match=r"SSH_AUTH_SOCK is not set") as told:
            published(store, tmp_path, "b")
        assert "background" in told.value.hint


@needs_agent
def test_a_locked_agent_is_not_a_wrong_one(agent: RealAgent) -> None:
    with hostile_agent(lambda kind, _: identities((MINE, b"")) if kind == 11 else b"\0\0\0\1\5") as no:
        agents = KeyAgent({"SSH_AUTH_SOCK": no.socket})
        with pytest.raises(AgentRefusedError, match="refused"):
            agents.signer(MINE.public).sign(b"x")
        assert no.asked == [11, 13]


# Hostile agents


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "half a length": b"\0\0",
    "a message of no bytes": b"\0\0\0\0",
    "less than it says": b"\0\0\1\0" + b"\x0c",
    "a kind that is none": string(b"\xff" + bytes(20)),
    "a failure": b"\0\0\0\1\5",
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "4 GB": b"\xff\xff\xff\xff" + bytes(100_000),
    "a byte too many": struct.pack(">I", limits.MAX_AGENT_MESSAGE + 1) + bytes(limits.MAX_AGENT_MESSAGE + 1),
    "a billion keys": string(b"\x0c\x3b\x9a\xca\x00"),
    "a key of 4 GB": string(b"\x0c\0\0\0\1" + b"\xff\xff\xff\xff"),
    "a key that is no key": string(b"\x0c\0\0\0\1" + string(b"\0\0\0\xff") + string(b"")),
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_the_place_of_keys_is_told(answer: bytes) -> None:
    with hostile_agent(lambda kind, body: answer) as agent:
        started = time.process_time()
        with pytest.raises((AgentAnswerError, AgentAwayError, AgentRefusedError)):
            KeyAgent({"SSH_AUTH_SOCK": agent.socket}).signer(MINE.public)
        assert time.process_time() - started < 5


SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "another key's": lambda data: signature(THEIRS.sign(data)),
    "of another message": lambda data: signature(MINE.sign(data + b"x")),
    "of zeros": lambda data: signature(bytes(64)),
    "too short": lambda data: signature(MINE.sign(data)[:63]),
    "too long": lambda data: signature(MINE.sign(data) + b"\0"),
    "of another kind": lambda data: signature(MINE.sign(data), b"ssh-ed448"),
    "of a FIDO key": lambda data: signature(MINE.sign(data), b"sk-ssh-ed25519@openssh.com"),
    "a list of keys": lambda data: identities((MINE, b"")),
    "with a byte behind it": lambda data: string(b"\x0e" + string(string(b"ssh-ed25519") + string(bytes(64))) + b"\0"),
    "of 4 GB": lambda data: b"\xff\xff\xff\xff" + bytes(1000),
    "nothing": lambda data: b"",
}


@pytest.mark.parametrize("sign", SIGNATURES.values(), ids=SIGNATURES)
def test_a_wrong_signature_is_caught_before_anything_is_written(sign: Callable[[bytes], bytes], tmp_path: Path) -> None:
    def answer(kind: int, body: bytes) -> bytes:
        if kind == 11:
            return identities((MINE, b"mine"))
        blob = struct.unpack(">I", body[:4])[0]
        data = body[8 + blob : -4]
        return sign(data) if body else b""

    with hostile_agent(answer) as agent, give_home(tmp_path / "home") as store:
        with pytest.raises((AgentAnswerError, AgentAwayError)):
            roots._use_agent(store, UseAgentRequest(MINE.did, agent.socket))
        assert [path.name for path in store.home.root.glob("publisher*")] == []
        before = own_publisher(store)
        files = {path: path.read_bytes() for path in store.home.root.glob("publisher*")}
        with pytest.raises((AgentAnswerError, AgentAwayError)):
            roots._use_agent(store, UseAgentRequest(MINE.did, agent.socket))
        assert own_publisher(store) == before
        assert {path: path.read_bytes() for path in store.home.root.glob("publisher*")} == files


def test_an_agent_that_never_answers_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AGENT_ANSWER", 0.3)
    monkeypatch.setattr(limits, "AGENT_SIGN", 0.3)
    with hostile_agent(lambda kind, body: identities((MINE, b"")) if kind == 11 else None) as agent:
        signer = KeyAgent({"SSH_AUTH_SOCK": agent.socket}).signer(MINE.public)
        with pytest.raises(AgentTimeoutError, match=r"0\.3 s"):
            signer.sign(b"x")
        with pytest.raises(AgentTimeoutError):
            signer.sign(bytes(200_000))
    with hostile_agent(lambda kind, body: None) as silent, pytest.raises(AgentTimeoutError):
        KeyAgent({"SSH_AUTH_SOCK": silent.socket}).keys()


def test_a_flood_takes_no_memory(tmp_path: Path) -> None:
    with hostile_agent(lambda kind, body: b"\x7f\xff\xff\xff" + bytes(50_000_000)) as agent:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(AgentAnswerError, match="at most 262144"):
            KeyAgent({"SSH_AUTH_SOCK": agent.socket}).keys()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 200_000, "in KiB: the flood itself, which this very process makes, has 50 MB"


def test_nobody_waits_for_a_person_and_no_place_is_signed_twice(tmp_path: Path) -> None:
    """While the agent thinks, another device's record comes in: it can, since the ledger is free; ours has no place."""
    meanwhile: list[Callable[[], object]] = []

    def answer(kind: int, body: bytes) -> bytes:
        if kind == 11:
            return identities((MINE, b""))
        if b"urn:samara:release:1" not in body:  # that one has no place in the log
            while meanwhile:
                meanwhile.pop()()
        blob = struct.unpack(">I", body[:4])[0]
        return signature(MINE.sign(body[8 + blob : -4]))

    with hostile_agent(answer) as agent, give_home(tmp_path / "home") as store:
        roots._use_agent(store, UseAgentRequest(MINE.did, agent.socket))
        source = published(store, tmp_path, "a")
        ref = format_record(source.release)
        for sign in (
            lambda: claim(store, AttestRequest(ref, "reviewed")),
            lambda: published(store, tmp_path, "b"),
        ):
            other = publisher_of(store)
            other.keys = [MINE]
            other.attest(release_of(store, source.release))
            meanwhile.append(partial(tell, store, other, own=True))
            with pytest.raises(OperationError, match="another device"):
                sign()
            with store.ledgers.asking(own_publisher(store).publisher) as ledger:
                assert ledger is not None
                assert (ledger.fork, ledger.newest is not None and ledger.newest.envelope) == (None, other.said[-1])
        assert claim(store, AttestRequest(ref, "reviewed")).position == 4


def test_what_is_too_long_for_an_agent_is_not_sent() -> None:
    with hostile_agent(lambda kind, body: identities((MINE, b""))) as agent:
        signer = KeyAgent({"SSH_AUTH_SOCK": agent.socket}).signer(MINE.public)
        with pytest.raises(AgentError, match="too long for an agent"):
            signer.sign(bytes(limits.MAX_AGENT_MESSAGE))
        assert agent.asked == [11]


def test_a_weak_key_is_not_usable() -> None:
    weak = string(string(b"ssh-ed25519") + string((1).to_bytes(32, "little"))) + string(b"weak")
    with hostile_agent(lambda kind, body: string(b"\x0c\0\0\0\1" + weak)) as agent:
        ((key,),) = [KeyAgent({"SSH_AUTH_SOCK": agent.socket}).keys()[1]]
        assert (key.public, key.did) == (None, "")


# The file


def test_the_file_of_a_key_in_an_agent() -> None:
    good = AgentKey(MINE.public).encode()
    assert (len(good), decode_publisher_file(good)) == (41, AgentKey(MINE.public))
    weak = good[:9] + (1).to_bytes(32, "little")
    for wrong in (good[:-1], good + b"\0", good[:8], good[:8] + b"\2" + good[9:], good[:7] + b"B" + good[8:], weak):
        with pytest.raises(KeyFileError):
            decode_publisher_file(wrong)
