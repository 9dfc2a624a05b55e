"""What an honest safetensors header says, each lie by name, and agreement with the library where it is right."""

from __future__ import annotations

import json
from typing import Any

import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st
from support.model_headers import reader, safetensors_file

from samara.protocol.errors import ModelHeaderError
from samara.protocol.formats.facts import ModelFacts
from samara.protocol.formats.safetensors import DTYPE_BITS, read_safetensors
from samara.protocol.limits import MAX_HEADER_METADATA, MAX_TENSOR_ENTRY, MAX_TENSOR_NAME


def facts_of(data: bytes) -> ModelFacts:
    return read_safetensors(reader(data), len(data))


def entry(begin: int, end: int, dtype: str = "U8", shape: list[Any] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def raw_entry(text: str) -> bytes:
    return b'{"a":' + text.encode() + b"}"


def test_an_honest_header_is_told() -> None:
    header = {
        "__metadata__": {"format": "pt", "license": "mit"},
        "b.weight": entry(12, 20, "F32", [2]),
        "a.weight": entry(0, 12, "BF16", [2, 3]),
        "scalar": entry(20, 21, "BOOL", []),
        "empty": entry(21, 21, "F32", [0, 7]),
    }
    raw = json.dumps(header, indent=1).encode()
    assert facts_of(safetensors_file(raw + b"   \n", 21)) == ModelFacts(
        container="safetensors",
        header_bytes=8 + len(raw) + 4,
        tensors=4,
        tensor_bytes=21,
        parameters=6 + 2 + 1,
        quantization="BF16",
        license="mit",
    )


LIES: dict[str, tuple[bytes, str]] = {
    "a length past the end": (safetensors_file({}, length=1 << 20), "a header of"),
    "a length of 2^64-1": (safetensors_file({}, length=2**64 - 1), "a header of"),
    "a length of 0": (safetensors_file(b"", length=0), "a header of"),
    "a length one too short": (
        safetensors_file({"a": entry(0, 1)}, 1, length=len(json.dumps({"a": entry(0, 1)})) - 1),
        "malformed|end",
    ),
    "a length one too long": (safetensors_file({}, 1, length=3), "after its JSON"),
    "a tensor twice": (
        safetensors_file(b'{"a":%b,"a":%b}' % ((json.dumps(entry(0, 1)).encode(),) * 2), 1),
        "stands twice",
    ),
    "a tensor twice, once escaped": (
        safetensors_file(b'{"a":%b,"\\u0061":%b}' % ((json.dumps(entry(0, 1)).encode(),) * 2), 1),
        "stands twice",
    ),
    "a field twice": (
        safetensors_file(raw_entry('{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}'), 1),
        "once each",
    ),
    "a field too many": (safetensors_file({"a": entry(0, 1) | {"extra": 1}}, 1), "once each"),
    "a field too few": (safetensors_file({"a": {"dtype": "U8", "shape": [1]}}, 1), "once each"),
    "a name with NUL": (safetensors_file({"a\0": entry(0, 1)}, 1), "unprintable"),
    "a name that climbs": (safetensors_file({"../a": entry(0, 1)}, 1), "path"),
    "a name that climbs further on": (safetensors_file({"a/../b": entry(0, 1)}, 1), "path"),
    "an absolute name": (safetensors_file({"/a": entry(0, 1)}, 1), "path"),
    "a name with a backslash": (safetensors_file({"a\\b": entry(0, 1)}, 1), "path"),
    "a name that reorders": (safetensors_file({"a\u202e": entry(0, 1)}, 1), "unprintable"),
    "a lone surrogate as a name": (
        safetensors_file(b'{"\\ud800":' + json.dumps(entry(0, 1)).encode() + b"}", 1),
        "unprint",
    ),
    "an empty name": (safetensors_file({"": entry(0, 1)}, 1), "empty"),
    "a long name": (safetensors_file({"x" * (MAX_TENSOR_NAME + 1): entry(0, 1)}, 1), "at most"),
    "a raw control character": (safetensors_file(b'{"a\n":1}'), "malformed"),
    "an unknown escape": (safetensors_file(b'{"\\q":1}'), "malformed"),
    "a name that is not UTF-8": (safetensors_file(b'{"\xff":' + json.dumps(entry(0, 1)).encode() + b"}", 1), "UTF-8"),
    "an overlap": (safetensors_file({"a": entry(0, 2), "b": entry(1, 3)}, 3), "overlaps"),
    "the same bytes twice": (safetensors_file({"a": entry(0, 2), "b": entry(0, 2)}, 2), "overlaps"),
    "a gap": (safetensors_file({"a": entry(0, 2), "b": entry(3, 4)}, 4), "gap"),
    "a gap at the start": (safetensors_file({"a": entry(1, 2)}, 2), "gap"),
    "data that no tensor has": (safetensors_file({"a": entry(0, 2)}, 3), "2 of 3 bytes"),
    "data that is missing": (safetensors_file({"a": entry(0, 2)}, 1), "2 of 1 bytes"),
    "data without tensors": (safetensors_file({}, 1), "0 of 1 bytes"),
    "offsets that go back": (safetensors_file({"a": entry(2, 1, shape=[1])}, 2), "offsets"),
    "negative offsets": (safetensors_file({"a": entry(-1, 1)}, 2), "offsets"),
    "offsets of 2^63": (safetensors_file({"a": entry(2**63, 2**63 + 1)}, 1), "offsets"),
    "one offset": (safetensors_file({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1]}}, 1), "offsets"),
    "offsets as floats": (
        safetensors_file(raw_entry('{"dtype":"U8","shape":[1],"data_offsets":[0,1.0]}'), 1),
        "offsets",
    ),
    "offsets as truth": (
        safetensors_file(raw_entry('{"dtype":"U8","shape":[1],"data_offsets":[0,true]}'), 1),
        "offsets",
    ),
    "NaN": (safetensors_file(raw_entry('{"dtype":"U8","shape":[NaN],"data_offsets":[0,1]}'), 1), "shape"),
    "a number of 5,000 digits": (
        safetensors_file(raw_entry('{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}' % ("9" * 4050)), 1),
        "shape|malformed",
    ),
    "a negative dimension": (safetensors_file({"a": entry(0, 1, shape=[-1])}, 1), "shape"),
    "a shape that wraps to the right size": (
        safetensors_file({"a": entry(0, 0, shape=[2**62, 4])}, 0),
        "is not 0 bytes",
    ),
    "17 dimensions": (safetensors_file({"a": entry(0, 1, shape=[1] * 17)}, 1), "shape"),
    "a shape that is no list": (
        safetensors_file({"a": {"dtype": "U8", "shape": 1, "data_offsets": [0, 1]}}, 1),
        "shape",
    ),
    "a shape that is too small": (safetensors_file({"a": entry(0, 8, "F32", [1])}, 8), "is not 8 bytes"),
    "a shape that is too large": (safetensors_file({"a": entry(0, 8, "F32", [3])}, 8), "is not 8 bytes"),
    "half a byte": (safetensors_file({"a": entry(0, 1, "F4", [3])}, 1), "is not 1 bytes"),
    "an unknown dtype": (safetensors_file({"a": entry(0, 1, "F7")}, 1), "unknown dtype"),
    "a dtype that is a list": (
        safetensors_file(raw_entry('{"dtype":["U8"],"shape":[1],"data_offsets":[0,1]}'), 1),
        "dtype",
    ),
    "a nested object": (safetensors_file(raw_entry('{"dtype":{},"shape":[1],"data_offsets":[0,1]}'), 1), "malformed"),
    "deep nesting": (
        safetensors_file(raw_entry('{"dtype":"U8","shape":%s,"data_offsets":[0,1]}' % ("[" * 2000 + "]" * 2000)), 1),
        "once each|shape",
    ),
    "a tensor that is a number": (safetensors_file({"a": 1}), "malformed"),
    "a long entry": (safetensors_file({"a": entry(0, 1, "x" * MAX_TENSOR_ENTRY)}, 1), "at most"),
    "an array": (safetensors_file(b"[]"), "malformed"),
    "two objects": (safetensors_file(b"{}{}"), "after its JSON"),
    "a trailing comma": (safetensors_file(b'{"__metadata__":{},}'), "malformed"),
    "a missing comma": (safetensors_file(b'{"__metadata__":{}"a":1}'), "malformed"),
    "a missing colon": (safetensors_file(b'{"a"{}}'), "malformed"),
    "an unfinished object": (safetensors_file(b'{"__metadata__":{}'), "malformed"),
    "metadata that is no object": (safetensors_file({"__metadata__": 1}), "malformed"),
    "metadata with a number": (safetensors_file({"__metadata__": {"a": 1}}), "malformed"),
    "metadata twice": (safetensors_file(b'{"__metadata__":{},"__metadata__":{}}'), "stands twice"),
    "a metadata key twice": (safetensors_file(b'{"__metadata__":{"a":"","a":""}}'), "stands twice"),
    "UTF-16": (safetensors_file('{"a":1}'.encode("utf-16-le")), "malformed"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused(name: str) -> None:
    data, says = LIES[name]
    with pytest.raises(ModelHeaderError, match=says):
        facts_of(data)


def test_metadata_has_a_limit_of_its_own() -> None:
    metadata = {"0": "x" * (4 << 20), "1": "x" * (MAX_HEADER_METADATA - (4 << 20) - 30)}
    assert facts_of(safetensors_file({"__metadata__": metadata})).tensors == 0
    with pytest.raises(ModelHeaderError, match="more than"):
        facts_of(safetensors_file({"__metadata__": metadata | {"last": "x" * 30}}))


NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N")) | st.sampled_from("._-/ "), min_size=1, max_size=40)


@given(
    st.dictionaries(
        NAMES.filter(lambda n: ".." not in n and not n.startswith("/") and n != "__metadata__"),
        st.tuples(st.sampled_from(sorted(DTYPE_BITS)), st.lists(st.integers(0, 4), max_size=3)),
        max_size=12,
    ),
    st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=3),
    st.integers(1, 3),
)
def test_what_the_library_reads_is_read_alike(
    tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str], indent: int
) -> None:
    header: dict[str, Any] = {"__metadata__": metadata}
    at = elements = 0
    for name, (dtype, shape) in tensors.items():
        count = 1
        for length in shape:
            count *= length
        if count * DTYPE_BITS[dtype] % 8:
            continue
        size = count * DTYPE_BITS[dtype] // 8
        header[name] = entry(at, at + size, dtype, shape)
        at, elements = at + size, elements + count
    file = safetensors_file(json.dumps(header, indent=indent).encode(), at)
    theirs = safetensors.deserialize(file)  # type: ignore[no-untyped-call]
    found = facts_of(file)
    assert {name for name, _info in theirs} == header.keys() - {"__metadata__"}
    assert (found.tensors, found.parameters, found.tensor_bytes) == (len(theirs), elements, at)


@given(st.data())
def test_no_cut_and_no_changed_byte_raises_anything_else(data: st.DataObject) -> None:
    file = bytearray(safetensors_file({"__metadata__": {"a": "b"}, "x": entry(0, 2), "y": entry(2, 4, "BF16", [1])}, 4))
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(file) - 1), st.integers(0, 255)), max_size=3)):
        file[at] = byte
    cut = bytes(file[: data.draw(st.integers(0, len(file)))])
    try:
        found = facts_of(cut)
    except ModelHeaderError:
        return
    # Whatever we take, the library takes too: we are never the laxer one.
    assert len(safetensors.deserialize(cut)) == found.tensors  # type: ignore[no-untyped-call]
