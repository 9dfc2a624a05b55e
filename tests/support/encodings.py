"""Payloads of chunks that cost a decoder most."""

from __future__ import annotations

from support.vectors import generator

from samara.protocol.limits import MAX_CHUNK, MAX_PLANES

__all__ = ["worst"]


def worst() -> list[tuple[int, bytes, bytes | None]]:
    """Return the shortest payloads of the longest chunks: encoding, payload, and base."""
    made = generator("encodings")
    half = made.same(1, MAX_CHUNK // 2)
    folded = made.same(0, MAX_CHUNK // 8), made.same(1, MAX_CHUNK // 4)
    quarters = made.header(made.FLOAT32) + made.form(*folded, fold=made.HALVES) * 4 + b"".join(folded) * 4
    field = made.same(0, MAX_CHUNK // MAX_PLANES)
    fields = made.header(made.BLOCKS, 0, b"\1" * MAX_PLANES) + made.form(field) * MAX_PLANES + field * MAX_PLANES
    return [
        (3, made.same(0, MAX_CHUNK), None),
        (1, made.header(made.FLOAT16) + made.form(half) * 2 + half * 2, None),
        (2, quarters, bytes(MAX_CHUNK)),
        (2, fields, bytes(MAX_CHUNK)),
    ]
