"""What an honest GGUF header says, and each lie that one can tell, by name."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model_headers import (
    ARRAY,
    BOOL,
    F32,
    I32,
    I64,
    STRING,
    U8,
    U32,
    U64,
    Gguf,
    GgufTensor,
    reader,
    string,
    tiny_llama,
)

from samara.protocol.errors import ModelHeaderError
from samara.protocol.formats.facts import ModelFacts, read_facts
from samara.protocol.formats.ggml_types import FILE_TYPES, TENSOR_TYPES
from samara.protocol.formats.gguf import read_gguf
from samara.protocol.limits import MAX_CHAT_TEMPLATE, MAX_CHECKED_TENSORS, MAX_HEADER_KEYS, MAX_HEADER_STRINGS


def facts_of(data: bytes) -> ModelFacts:
    return read_gguf(reader(data), len(data))


def with_pair(key: str, kind: int, value: object) -> bytes:
    model = tiny_llama()
    model.pairs[key] = (kind, value)
    return model.build()


def with_tensor(index: int, **changes: object) -> bytes:
    model = tiny_llama()
    for name, value in changes.items():
        setattr(model.tensors[index], name, value)
    return model.build()


def with_head(**changes: object) -> bytes:
    model = tiny_llama()
    for name, value in changes.items():
        setattr(model, name, value)
    return model.build()


def raw_pair(key: str, kind: int, raw: bytes) -> bytes:
    model = tiny_llama()
    model.extra_pairs.append(string(key) + struct.pack("<I", kind) + raw)
    return model.build()


def test_an_honest_header_is_told() -> None:
    data = tiny_llama().build()
    found = facts_of(data)
    assert found == ModelFacts(
        container="gguf",
        header_bytes=found.header_bytes,
        tensors=5,
        tensor_bytes=160 + 2 * (256 + 32),
        parameters=40 + 2 * (64 + 8),
        quantization="F32",
        architecture="llama",
        name="Tiny",
        license="apache-2.0",
        context_length=128,
        layers=2,
        embedding_length=8,
        feed_forward_length=16,
        heads=2,
        kv_heads=1,
        head_dim=4,
        kv_elements=2 * 1 * (4 + 4),
        vocab_size=5,
        chat_template=True,
        last_block=1,
    )
    assert 0 <= len(data) - found.header_bytes - found.tensor_bytes < 32


LIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "another magic": (lambda: with_head(magic=b"GGML"), "not a GGUF file"),
    "version 1": (lambda: with_head(version=1), "version 1"),
    "version 4": (lambda: with_head(version=4), "version 4"),
    "big-endian": (lambda: with_head(version=3 << 24), "big-endian"),
    "a tensor count of 2^64-1": (lambda: with_head(tensor_count=2**64 - 1), "at most"),
    "a key count of 2^64-1": (lambda: with_head(key_count=2**64 - 1), "at most"),
    "more tensors than the file can hold": (lambda: with_head(tensor_count=MAX_CHECKED_TENSORS), "past the end"),
    "more keys than the file can hold": (lambda: with_head(key_count=MAX_HEADER_KEYS), "past the end"),
    "one tensor too many": (lambda: with_head(tensor_count=6), "is empty"),
    "one tensor too few": (lambda: with_head(tensor_count=4), "blocks|follow the last"),
    "one key too many": (lambda: with_head(key_count=15), "at most 63"),
    "one key too few": (lambda: with_head(key_count=13), "dimensions"),
    "a file of 49 bytes": (
        lambda: b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<IIQ", ARRAY, STRING, 2**60),
        "strings of the header",
    ),
    "a key of 2^63 bytes": (lambda: with_head(extra_pairs=[struct.pack("<Q", 2**63) + bytes(32)]), "at most 1024"),
    "a string of 2^63 bytes": (lambda: raw_pair("x", STRING, struct.pack("<Q", 2**63)), "past the end"),
    "an array of 2^61 numbers": (lambda: raw_pair("x", ARRAY, struct.pack("<IQ", U64, 2**61)), "past the end"),
    "an array whose string runs out": (
        lambda: raw_pair("x", ARRAY, struct.pack("<IQQ", STRING, 1, 2**62)),
        "past the end",
    ),
    "a nested array": (lambda: raw_pair("x", ARRAY, struct.pack("<IQIQ", ARRAY, 1, U8, 1) + b"\0"), "nested"),
    "an array of an unknown type": (
        lambda: raw_pair("x", ARRAY, struct.pack("<IQ", 13, 1) + bytes(8)),
        "nested and unknown",
    ),
    "an unknown value type": (lambda: raw_pair("x", 13, bytes(8)), "unknown value type 13"),
    "a truth value of 2": (lambda: raw_pair("x", BOOL, b"\x02"), "truth value"),
    "a key twice": (lambda: raw_pair("general.name", STRING, string("Other")), "stands twice"),
    "an empty key": (lambda: raw_pair("", U8, b"\0"), "empty"),
    "a key with a control character": (lambda: raw_pair("a\x1b[2J", U8, b"\0"), "control characters"),
    "a key that is not UTF-8": (lambda: with_head(extra_pairs=[string(b"\xff") + struct.pack("<IB", U8, 0)]), "UTF-8"),
    "an alignment of 0": (lambda: with_pair("general.alignment", U32, 0), "between"),
    "an alignment of 48": (lambda: with_pair("general.alignment", U32, 48), "power of two"),
    "an alignment of 2^31": (lambda: with_pair("general.alignment", U32, 2**31), "between"),
    "an alignment in a u64": (lambda: with_pair("general.alignment", U64, 32), "u32"),
    "an alignment that the tensors do not keep": (lambda: with_pair("general.alignment", U32, 64), "overlaps"),
    "a tensor name twice": (lambda: with_tensor(4, name="blk.1.attn_q.weight"), "stands twice"),
    "a tensor name with NUL": (lambda: with_tensor(4, name="blk.1\0.w"), "control characters"),
    "a tensor name that climbs": (lambda: with_tensor(4, name="../../etc/passwd"), "path"),
    "an absolute tensor name": (lambda: with_tensor(4, name="/etc/passwd"), "path"),
    "a tensor name with a backslash": (lambda: with_tensor(4, name="a\\b"), "path"),
    "an empty tensor name": (lambda: with_tensor(4, name=""), "empty"),
    "a tensor name of 64 bytes": (lambda: with_tensor(4, name="x" * 64), "at most 63"),
    "five dimensions": (lambda: with_tensor(4, dims=(8, 1, 1, 1, 1)), "5 dimensions"),
    "2^32-1 dimensions": (
        lambda: (
            tiny_llama()
            .build()
            .replace(
                string("blk.1.attn_norm.weight") + struct.pack("<I", 1),
                string("blk.1.attn_norm.weight") + struct.pack("<I", 2**32 - 1),
            )
        ),
        "4294967295 dimensions",
    ),
    "a dimension of 0": (lambda: with_tensor(4, dims=(8, 0)), "product of 0"),
    "dimensions whose product overflows 64 bits": (lambda: with_tensor(4, dims=(2**32, 2**32)), "product"),
    "dimensions whose product wraps to the right size": (lambda: with_tensor(4, dims=(2**63, 2, 2, 2)), "product"),
    "an unknown tensor type": (lambda: with_tensor(4, kind=99), "type 99"),
    "a withdrawn tensor type": (lambda: with_tensor(4, kind=31), "type 31"),
    "rows that are no whole blocks": (lambda: with_tensor(4, kind=2), "32s"),
    "data past the end": (lambda: with_tensor(4, dims=(2**20,)), "cut short"),
    "a file that is cut short": (lambda: tiny_llama().build()[:-1], "cut short"),
    "a tensor over the one before": (lambda: with_tensor(4, offset=0), "overlaps"),
    "a gap before a tensor": (lambda: with_tensor(4, offset=4096), "gap"),
    "an offset of 2^64-32": (lambda: with_tensor(4, offset=2**64 - 32), "gap"),
    "bytes after the last tensor": (lambda: with_head(tail=bytes(32)), "follow the last tensor"),
    "a block count of 0x7fffffff": (lambda: with_pair("llama.block_count", U32, 0x7FFFFFFF), "block_count"),
    "a block count of -1": (lambda: with_pair("llama.block_count", I32, -1), "block_count"),
    "a block count above the blocks": (lambda: with_pair("llama.block_count", U32, 3), "the tensors have 2 blocks"),
    "a block count below the blocks": (lambda: with_pair("llama.block_count", U32, 1), "the tensors have 2 blocks"),
    "a block count in a string": (lambda: with_pair("llama.block_count", STRING, "2"), "not an integer"),
    "a block count that is true": (lambda: with_pair("llama.block_count", BOOL, 1), "not an integer"),
    "a block count of a part": (lambda: with_pair("llama.vision.block_count", U32, 1 << 20), "block_count"),
    "a tensor of block 10^30": (lambda: with_tensor(4, name=f"blk.{10**30}.w"), "blocks"),
    "a context of 0": (lambda: with_pair("llama.context_length", U32, 0), "context_length"),
    "a context of 2^63": (lambda: with_pair("llama.context_length", U64, 2**63), "context_length"),
    "an embedding of 2^31": (lambda: with_pair("llama.embedding_length", U32, 2**31), "embedding_length"),
    "an embedding that is not the tensors'": (lambda: with_pair("llama.embedding_length", U32, 16), "rows of 8"),
    "heads without end": (lambda: with_pair("llama.attention.head_count", U32, 2**31), "head_count"),
    "key-value heads that do not divide": (
        lambda: with_pair("llama.attention.head_count_kv", U32, 3),
        "not a multiple",
    ),
    "fewer heads than layers in a list": (
        lambda: with_pair("llama.attention.head_count", ARRAY, (U32, [2])),
        "for each of 2 layers",
    ),
    "heads as floats": (lambda: with_pair("llama.attention.head_count", ARRAY, (F32, [2.0, 2.0])), "integer for each"),
    "negative heads in a list": (lambda: with_pair("llama.attention.head_count", ARRAY, (I32, [2, -2])), "between"),
    "a key length of 0": (lambda: with_pair("llama.attention.key_length", U32, 0), "key_length"),
    "more experts used than there are": (lambda: with_pair("llama.expert_used_count", U32, 2), "of 0 experts"),
    "experts without end": (lambda: with_pair("llama.expert_count", U32, 2**31), "expert_count"),
    "more tokens than rows": (lambda: with_tensor(0, dims=(8, 4), size=128), "4 rows"),
    "scores that are too few": (lambda: with_pair("tokenizer.ggml.scores", ARRAY, (F32, [0.0])), "beside 5 tokens"),
    "scores of another type": (lambda: with_pair("tokenizer.ggml.scores", ARRAY, (U8, [0] * 5)), "beside 5 tokens"),
    "scores that are no array": (lambda: with_pair("tokenizer.ggml.scores", F32, 0.0), "not an array"),
    "token types that are too few": (lambda: with_pair("tokenizer.ggml.token_type", ARRAY, (I32, [])), "beside 5"),
    "tokens that are numbers": (lambda: with_pair("tokenizer.ggml.tokens", ARRAY, (I32, [0] * 5)), "array of strings"),
    "a tensor without dimensions of a type in blocks": (lambda: with_tensor(4, dims=(), kind=2), "rows of 1: Q4_0"),
    "an embedding table of one dimension": (lambda: with_tensor(0, dims=(40,)), "must have two"),
    "no architecture": (lambda: Gguf().build(), "architecture is missing"),
    "an architecture with an escape": (lambda: with_pair("general.architecture", STRING, "a\x1b[1m"), "not a name"),
    "more files than there can be": (lambda: with_pair("split.count", U32, 1 << 20), "split.count"),
    "a file number past the last": (lambda: with_pair("split.no", U32, 1), "split.no"),
    "a chat template without end": (
        lambda: with_pair("tokenizer.chat_template", STRING, "x" * (MAX_CHAT_TEMPLATE + 1)),
        "at most",
    ),
    "strings without end": (
        lambda: raw_pair("x", ARRAY, struct.pack("<IQ", STRING, MAX_HEADER_STRINGS - 4) + bytes(64)),
        "at most",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused(name: str) -> None:
    build, says = LIES[name]
    data = build()
    with pytest.raises(ModelHeaderError, match=says):
        facts_of(data)


@given(st.data())
def test_no_cut_and_no_flipped_byte_raises_anything_else(data: st.DataObject) -> None:
    honest = bytearray(tiny_llama().build())
    cut = data.draw(st.integers(4, len(honest)))
    for at, byte in data.draw(st.lists(st.tuples(st.integers(4, len(honest) - 1), st.integers(0, 255)), max_size=4)):
        honest[at] = byte
    file = bytes(honest[:cut])
    try:
        found = read_facts(reader(file), len(file))
    except ModelHeaderError:
        return
    # What passes is consistent: it lies inside the file.
    assert found is not None
    assert found.header_bytes + found.tensor_bytes <= len(file)


def test_every_file_that_is_cut_short_is_refused() -> None:
    file = tiny_llama().build()
    for cut in range(len(file)):
        with pytest.raises(ModelHeaderError):
            facts_of(file[:cut])


def test_a_list_of_heads_is_summed_over_the_layers() -> None:
    model = tiny_llama(layers=3)
    model.pairs["llama.attention.head_count"] = (ARRAY, (U32, [2, 4, 0]))
    model.pairs["llama.attention.head_count_kv"] = (ARRAY, (U32, [2, 1, 0]))
    model.pairs["llama.attention.key_length"] = (U32, 6)
    model.pairs["llama.attention.value_length"] = (U32, 4)
    found = facts_of(model.build())
    assert (found.heads, found.kv_heads, found.head_dim) == (4, 2, 6)
    assert found.kv_elements == (2 + 1 + 0) * (6 + 4)


def test_layers_for_speculation_may_be_counted_or_not() -> None:
    for stated in (1, 2, 3):
        model = tiny_llama(layers=2)
        model.pairs["llama.block_count"] = (U64, stated)
        model.pairs["llama.nextn_predict_layers"] = (U32, 1)
        assert facts_of(model.build()).layers == stated


def test_a_vocabulary_without_tensors_is_no_lie() -> None:
    model = tiny_llama()
    model.tensors.clear()
    found = facts_of(model.build())
    assert (found.tensors, found.quantization, found.vocab_size) == (0, None, 5)


def test_what_is_shown_is_escaped_and_short() -> None:
    model = tiny_llama()
    model.pairs["general.name"] = (STRING, "\x1b[31mred\u202e\n" + "x" * 5000)
    model.pairs["general.license"] = (STRING, b"\xff\xfe mit")
    found = facts_of(model.build())
    assert found.name is not None
    assert found.name.startswith("\\x1b[31mred\\u202e\\nxxx")
    assert found.name.endswith("…")
    assert len(found.name) < 300
    assert found.license == "\ufffd\ufffd mit"


@pytest.mark.parametrize(
    ("stated", "kind", "label"),
    [(15, 12, "Q4_K_M"), (15 | 1024, 12, "Q4_K_M"), (15, 8, "Q8_0"), (7, 8, "Q8_0"), (999, 8, "Q8_0")],
)
def test_the_label_is_believed_only_when_the_tensors_bear_it_out(stated: int, kind: int, label: str) -> None:
    model = Gguf(pairs={"general.architecture": (STRING, "llama"), "general.file_type": (U32, stated)})
    size = TENSOR_TYPES[kind].size * 256 // TENSOR_TYPES[kind].block
    model.tensors = [GgufTensor("output.weight", (256, 4), kind, 4 * size), GgufTensor("norm", (8,), 0, 32)]
    assert facts_of(model.build()).quantization == label


def test_every_label_promises_a_type_that_exists() -> None:
    names = {t.name for t in TENSOR_TYPES.values()}
    assert {f.main for f in FILE_TYPES.values()} <= names
    assert len(names) == len(TENSOR_TYPES)


@pytest.mark.parametrize("kind", TENSOR_TYPES)
def test_every_type_is_measured_in_blocks(kind: int) -> None:
    name, block, size = TENSOR_TYPES[kind]
    model = Gguf(pairs={"general.architecture": (STRING, "llama")})
    model.tensors = [GgufTensor("w", (block * 2, 3), kind, size * 6), GgufTensor("after", (8,), 0, 32)]
    found = facts_of(model.build())
    assert (found.tensor_bytes, found.parameters) == (size * 6 + 32, block * 6 + 8)
    assert found.quantization in (name, "F32")


def test_an_alignment_of_its_own_is_kept() -> None:
    model = tiny_llama()
    model.alignment = 4096
    model.pairs["general.alignment"] = (U32, 4096)
    assert facts_of(model.build()).tensors == 5


def test_unknown_keys_of_every_type_are_passed_over() -> None:
    model = tiny_llama()
    model.pairs |= {f"other.{kind}": (kind, 1) for kind in (*range(8), 10, 11, 12)}
    model.pairs["other.text"] = (STRING, "words \x00 of any kind")
    model.pairs["other.list"] = (ARRAY, (I64, [1, 2, 3]))
    assert facts_of(model.build()).layers == 2
