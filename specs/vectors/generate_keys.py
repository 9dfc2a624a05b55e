"""Writes the vectors of specs/keys.md: `python specs/vectors/generate_keys.py` (with `src` on the path).

Deterministic: seeds and salts are made from committed labels. Each negative vector has the one failure that its name
says, and names the class of the error.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from samara.node.wordlist import word_list
from samara.protocol.dsse import Envelope, Signature, SigningKey, sign
from samara.protocol.ids import PublisherId, did_key, digest
from samara.protocol.keyfile import SealedKey
from samara.protocol.limits import MAX_KEY_LOG_N, MIN_KEY_LOG_N
from samara.protocol.oms import OMS_KEY, OmsKey, oms_seed
from samara.protocol.records import PublisherChain, make_genesis, make_next_root
from samara.protocol.records.root import ROOT_TYPE
from samara.protocol.records.statement import Subject, seal
from samara.protocol.rootfile import RootFile, countersign, propose

FILE = Path(__file__).parent / "keys.json"
PASSPHRASE = "samara maple wing seed"

Vector = dict[str, Any]


def secret(label: str) -> bytes:
    return hashlib.sha256(f"samara vector {label}".encode()).digest()


ANNA, BEN, CARLA = (SigningKey(secret(name)) for name in ("anna", "ben", "carla"))


def sealed(passphrase: str = PASSPHRASE, seed: bytes = b"", log_n: int = MIN_KEY_LOG_N) -> bytes:
    seed = seed or secret("anna")
    return SealedKey.seal(seed, passphrase, salt=secret(f"salt {passphrase}")[:16], log_n=log_n).encode()


def changed(data: bytes, offset: int, value: int | None = None) -> bytes:
    there = bytearray(data)
    there[offset] = there[offset] ^ 1 if value is None else value
    return bytes(there)


def key_files() -> list[Vector]:
    good = sealed()
    composed, decomposed = "Blauwal \u00e4rgert \u00d6l", "Blauwal a\u0308rgert O\u0308l"
    vectors: list[Vector] = [
        {"name": "plain", "file": secret("anna").hex(), "seed": secret("anna").hex(), "key": ANNA.did},
        *(
            {"name": name, "file": file.hex(), "passphrase": said, "seed": seed.hex(), "key": SigningKey(seed).did}
            for name, file, said, seed in (
                ("sealed", good, PASSPHRASE, secret("anna")),
                ("another seed", sealed(seed=secret("ben")), PASSPHRASE, secret("ben")),
                ("a passphrase of one letter can be read", sealed("x"), "x", secret("anna")),
                ("composed letters", sealed(composed), composed, secret("anna")),
                ("composed letters, typed decomposed", sealed(composed), decomposed, secret("anna")),
                (
                    "a passphrase with an emoji",
                    sealed("winter \U0001f341 leaf"),
                    "winter \U0001f341 leaf",
                    secret("anna"),
                ),
                ("twice the cost", sealed(log_n=MIN_KEY_LOG_N + 1), PASSPHRASE, secret("anna")),
            )
        ),
    ]
    box = sealed(seed=secret("ben"))[59:]
    foreign = _foreign()
    wrong: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "KeyFileError"),
        "a plain seed without its last byte": (secret("anna")[:-1], "KeyFileError"),
        "a plain seed and a line end": (secret("anna") + b"\n", "KeyFileError"),
        "a plain seed in hexadecimal": (secret("anna").hex().encode(), "KeyFileError"),
        "the magic alone": (good[:8], "KeyFileError"),
        "another magic": (changed(good, 7), "KeyFileError"),
        "version 0": (changed(good, 8, 0), "KeyFileError"),
        "version 2": (changed(good, 8, 2), "KeyFileError"),
        "version 255": (changed(good, 8, 255), "KeyFileError"),
        "an unknown key derivation": (changed(good, 9, 2), "KeyFileError"),
        "no key derivation": (changed(good, 9, 0), "KeyFileError"),
        "less cost than is allowed": (changed(good, 10, MIN_KEY_LOG_N - 1), "KeyFileError"),
        "more cost than is allowed": (changed(good, 10, MAX_KEY_LOG_N + 1), "KeyFileError"),
        "a cost of 64 GB": (changed(good, 10, 26), "KeyFileError"),
        "a cost of 2^255": (changed(good, 10, 255), "KeyFileError"),
        "the last byte is missing": (good[:-1], "KeyFileError"),
        "one byte more": (good + b"\0", "KeyFileError"),
        "a line end behind it": (good + b"\n", "KeyFileError"),
        "another cost than it was sealed with": (changed(good, 10, MIN_KEY_LOG_N + 1), "PassphraseError"),
        "a changed salt": (changed(good, 11), "PassphraseError"),
        "a changed public key": (changed(good, 27), "PassphraseError"),
        "a changed seed": (changed(good, 59), "PassphraseError"),
        "a changed tag": (changed(good, 106), "PassphraseError"),
        "the box of another file": (good[:59] + box, "PassphraseError"),
        "a public key that is not the seed's": (foreign, "KeyFileError"),
    }
    vectors += [
        {"name": name, "file": data.hex(), "passphrase": PASSPHRASE, "error": error}
        for name, (data, error) in wrong.items()
    ]
    phrases = {
        "another passphrase": PASSPHRASE + "s",
        "another case": PASSPHRASE.upper(),
        "a space behind it": PASSPHRASE + " ",
        "an empty passphrase": "",
        "a passphrase that is too long": "x" * 1025,
    }
    return vectors + [
        {"name": name, "file": good.hex(), "passphrase": said, "error": "PassphraseError"}
        for name, said in phrases.items()
    ]


def _foreign() -> bytes:
    """A file that opens, and whose seed has another public key than it states."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    header = sealed()[:27] + BEN.public
    wrapping = Scrypt(header[11:27], length=32, n=1 << MIN_KEY_LOG_N, r=8, p=1).derive(PASSPHRASE.encode())
    return header + ChaCha20Poly1305(wrapping).encrypt(bytes(12), secret("anna"), header)


def oms_key_files() -> list[Vector]:
    """OMS keys at rest: what follows from a publisher's seed, and files with their own."""
    seed = secret("oms anna")
    salt = secret(f"salt {PASSPHRASE}")[:16]
    good = SealedKey.seal(seed, PASSPHRASE, salt=salt, log_n=MIN_KEY_LOG_N, kind=OMS_KEY).encode()
    hint = OmsKey(seed).public.hint
    vectors: list[Vector] = [
        {"name": "follows from the publisher's", "publisher": secret("anna").hex(), "seed": derived.hex(), "key": name}
        for derived, name in ((oms_seed(secret("anna")), OmsKey(oms_seed(secret("anna"))).public.hint),)
    ]
    vectors += [
        {"name": "plain", "file": seed.hex(), "seed": seed.hex(), "key": hint},
        {"name": "sealed", "file": good.hex(), "passphrase": PASSPHRASE, "seed": seed.hex(), "key": hint},
    ]
    wrong: dict[str, tuple[bytes, str]] = {
        "a publisher's key file": (sealed(), "KeyFileError"),
        "a byte more": (good + b"\0", "KeyFileError"),
        "a byte less": (good[:-1], "KeyFileError"),
        "a point that is on no curve": (changed(good, 27, 5), "KeyFileError"),
        "the other point with this x": (changed(good, 27), "PassphraseError"),
        "a cost of 64 GB": (changed(good, 10, 26), "KeyFileError"),
        "a changed seed": (changed(good, 60), "PassphraseError"),
        "the magic of a publisher's key": (b"samaraKY" + good[8:], "KeyFileError"),
    }
    return vectors + [
        {"name": name, "file": data.hex(), "passphrase": PASSPHRASE, "error": error}
        for name, (data, error) in wrong.items()
    ]


def seed_words() -> list[Vector]:
    words = word_list()
    seeds = {
        "zeros": bytes(32),
        "ones": b"\xff" * 32,
        "anna": secret("anna"),
        "0x7f": b"\x7f" * 32,
        "0x80": b"\x80" * 32,
    }
    vectors: list[Vector] = [
        {"name": name, "seed": seed.hex(), "words": " ".join(words.of_seed(seed))} for name, seed in seeds.items()
    ]
    anna = list(words.of_seed(secret("anna")))
    read = {
        "upper case": " ".join(anna).upper(),
        "lines and tabs": "\n".join("\t".join(anna[row : row + 4]) for row in range(0, 24, 4)) + "\n",
    }
    vectors += [{"name": name, "seed": secret("anna").hex(), "read": text} for name, text in read.items()]
    wrong = {
        "nothing": "",
        "23 words": " ".join(anna[:-1]),
        "25 words": " ".join([*anna, anna[0]]),
        "12 words": " ".join(anna[:12]),
        "a word that is not in the list": " ".join(["samara", *anna[1:]]),
        "a word cut to four letters": " ".join([*anna[:23], anna[23][:4] + "zz"]),
        "words with commas": ", ".join(anna),
        "numbers before the words": " ".join(f"{n}. {word}" for n, word in enumerate(anna, 1)),
        "two words changed places": " ".join([anna[1], anna[0], *anna[2:]]),
        "a wrong last word": " ".join([*anna[:-1], "zoo" if anna[-1] != "zoo" else "zone"]),
        "another language": "abaisser " * 24,
    }
    return vectors + [{"name": name, "read": text, "error": "WordsError"} for name, text in wrong.items()]


def check_words() -> list[Vector]:
    anna = PublisherId(digest(Envelope.decode(make_genesis([ANNA])).payload))
    ids = {"zeros": bytes(32), "ones": b"\xff" * 32, "anna": anna, "only the first 88 bits": anna[:11] + bytes(21)}
    return [
        {"name": name, "publisher": value.hex(), "words": " ".join(word_list().of_publisher(PublisherId(value)))}
        for name, value in ids.items()
    ]


def root_files() -> list[Vector]:
    genesis = PublisherChain.verify([make_genesis([ANNA])])
    rotated = propose(genesis, [BEN.did], 1, [ANNA, BEN])
    two = propose(genesis, [ANNA.did, BEN.did], 2, [ANNA])
    of_two = countersign(two, [BEN])
    replaced = propose(of_two.chain, [ANNA.did, CARLA.did], 2, [ANNA])
    files = {
        "a genesis": RootFile(genesis),
        "a rotation": rotated,
        "another key must sign": two,
        "it has signed": of_two,
        "the old keys and the new": replaced,
        "one of two old keys is missing": countersign(replaced, [CARLA]),
        "all have signed": countersign(replaced, [BEN, CARLA]),
    }
    vectors: list[Vector] = []
    for name, file in files.items():
        vector: Vector = {"name": name, "file": file.encode().decode(), "roots": len(file.chain.roots)}
        if file.proposal is not None:
            vector |= {"old": file.proposal.old, "new": file.proposal.new, "keys": list(file.proposal.root.keys)}
        vectors.append(vector)
    return vectors + _wrong_root_files(genesis, two)


def _wrong_root_files(genesis: PublisherChain, two: RootFile) -> list[Vector]:
    good, first = two.encode(), genesis.envelopes[0]
    assert two.proposal is not None
    payload = two.proposal.envelope.payload
    signed = lambda text, *keys: first + b"\n" + sign(text, keys).encode() + b"\n"  # noqa: E731 - short for the table
    foreign = Envelope(payload, (Signature(ANNA.did, sign(payload, [BEN]).signatures[0].sig),))
    says = {"critical": [], "version": 2, "threshold": 2, "keys": sorted([ANNA.did, BEN.did])}

    def saying(**other: object) -> bytes:
        statement = seal(Subject.of("root", genesis.roots[0].payload), ROOT_TYPE, says | other, [ANNA])
        return first + b"\n" + statement + b"\n"

    stranger = make_next_root(PublisherChain.verify([make_genesis([CARLA])]), [BEN.did], [CARLA, BEN])
    weak = did_key((1).to_bytes(32, "little"))
    wrong: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "StatementError"),
        "the last line does not end": (good[:-1], "StatementError"),
        "an empty line": (first + b"\n\n", "JsonError"),
        "carriage returns": (good.replace(b"\n", b"\r\n"), "JsonError"),
        "too many lines": (first + b"\n" + b"{}\n" * 256, "StatementError"),
        "a genesis without signature": (Envelope(genesis.roots[0].payload, ()).encode() + b"\n", "SignatureError"),
        "a proposal without signature": (signed(payload), "SignatureError"),
        "a proposal with another's signature": (first + b"\n" + foreign.encode() + b"\n", "SignatureError"),
        "a line behind a proposal": (good + good.split(b"\n")[1] + b"\n", "SignatureError"),
        "a proposal alone": (good.split(b"\n")[1] + b"\n", "StatementError"),
        "a root of another chain": (first + b"\n" + stranger + b"\n", "StatementError"),
        "a proposal that says more": (saying(note="and the house"), "StatementError"),
        "a proposal with white space": (
            signed(payload.replace(b'"critical":[]', b'"critical": []'), ANNA),
            "StatementError",
        ),
        "a proposal of another version": (saying(version=3), "StatementError"),
        "a proposal that wants more keys than it has": (saying(threshold=3), "StatementError"),
        "a proposal without keys": (saying(keys=[]), "StatementError"),
        "a proposal with keys in no order": (saying(keys=sorted([ANNA.did, BEN.did])[::-1]), "StatementError"),
        "a proposal with a key twice": (saying(keys=[ANNA.did, ANNA.did]), "StatementError"),
        "a proposal with a weak key": (saying(keys=sorted([ANNA.did, weak])), "StatementError"),
        "a proposal with a key that is none": (
            saying(keys=sorted([ANNA.did, "did:web:example.org"])),
            "StatementError",
        ),
        "a critical field that is not known": (saying(critical=["note"], note="x"), "CriticalError"),
    }
    return [{"name": name, "file": data.decode(), "error": error} for name, (data, error) in wrong.items()]


def make() -> str:
    parts = {
        "key_files": key_files(),
        "oms_key_files": oms_key_files(),
        "seed_words": seed_words(),
        "check_words": check_words(),
        "root_files": root_files(),
    }
    return json.dumps(parts, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(make(), encoding="utf-8")
