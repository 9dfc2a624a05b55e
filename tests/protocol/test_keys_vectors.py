"""The vectors of specs/keys.md, replayed; and the generator writes what is committed."""

from __future__ import annotations

from typing import Any

import pytest
from support.vectors import FOLDER, generator, vectors

from samara.node.wordlist import word_list
from samara.protocol import errors
from samara.protocol.ids import PublisherId
from samara.protocol.keyfile import PlainKey, SealedKey, decode_key_file
from samara.protocol.oms import OMS_KEY, OmsKey, OmsPublicKey, oms_seed
from samara.protocol.rootfile import RootFile

VECTORS: dict[str, list[dict[str, Any]]] = vectors("keys.json")


def each(part: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[part], ids=lambda vector: vector["name"])


def error_of(vector: dict[str, Any]) -> type[Exception]:
    kind: type[Exception] = getattr(errors, vector["error"])
    return kind


@each("key_files")
def test_key_files(vector: dict[str, Any]) -> None:
    def read() -> PlainKey:
        key = decode_key_file(bytes.fromhex(vector["file"]))
        return key if isinstance(key, PlainKey) else key.open(vector["passphrase"])

    if "error" in vector:
        with pytest.raises(error_of(vector)) as found:
            read()
        assert type(found.value) is error_of(vector)
        return
    assert read().seed.hex() == vector["seed"]
    key = decode_key_file(bytes.fromhex(vector["file"]))
    assert key.did == vector["key"]
    assert key.encode().hex() == vector["file"]


@each("oms_key_files")
def test_oms_key_files(vector: dict[str, Any]) -> None:
    if "publisher" in vector:
        seed = oms_seed(bytes.fromhex(vector["publisher"]))
        assert (seed.hex(), OmsKey(seed).public.hint) == (vector["seed"], vector["key"])
        return

    def read() -> PlainKey:
        key = decode_key_file(bytes.fromhex(vector["file"]), OMS_KEY)
        return key if isinstance(key, PlainKey) else key.open(vector["passphrase"])

    if "error" in vector:
        with pytest.raises(error_of(vector)) as found:
            read()
        assert type(found.value) is error_of(vector)
        return
    assert read().seed.hex() == vector["seed"]
    key = decode_key_file(bytes.fromhex(vector["file"]), OMS_KEY)
    assert key.encode().hex() == vector["file"]
    if isinstance(key, SealedKey):
        assert key.did == vector["key"] == OmsPublicKey.from_point(key.public).hint


@each("seed_words")
def test_seed_words(vector: dict[str, Any]) -> None:
    if "error" in vector:
        with pytest.raises(error_of(vector)):
            word_list().seed_of(vector["read"])
        return
    seed = bytes.fromhex(vector["seed"])
    assert word_list().seed_of(str(vector.get("read", vector.get("words")))) == seed
    if "words" in vector:
        assert " ".join(word_list().of_seed(seed)) == vector["words"]


@each("check_words")
def test_check_words(vector: dict[str, Any]) -> None:
    assert " ".join(word_list().of_publisher(PublisherId(bytes.fromhex(vector["publisher"])))) == vector["words"]


@each("root_files")
def test_root_files(vector: dict[str, Any]) -> None:
    data = vector["file"].encode()
    if "error" in vector:
        with pytest.raises(error_of(vector)) as found:
            RootFile.decode(data)
        assert type(found.value) is error_of(vector)
        return
    file = RootFile.decode(data)
    assert file.encode() == data
    assert len(file.chain.roots) == vector["roots"]
    if "old" not in vector:
        assert file.proposal is None
        return
    assert file.proposal is not None
    assert (file.proposal.old, file.proposal.new) == (vector["old"], vector["new"])
    assert list(file.proposal.root.keys) == vector["keys"]


def test_the_generator_writes_what_is_committed() -> None:
    assert generator("keys").make() == (FOLDER / "keys.json").read_text(encoding="utf-8")
