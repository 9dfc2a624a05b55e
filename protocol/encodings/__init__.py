"""Encodings of a chunk in transfer, without IO: never part of its identity (specs/encodings.md).

    codec     the front: a chunk to a payload, and back
    layout    where the words of a chunk lie
    header    what stands before the planes
    folds     a plane in its parts
    frames    zstd frames whose length is known beforehand
    planes    encoding 1: words of weights in byte planes
    delta     encoding 2: the same, of the differences to a chunk that both hold
    text      encoding 3: one frame

numpy and zstandard are imported when the first chunk is encoded or decoded: they would double the time that a command
takes to start.
"""
