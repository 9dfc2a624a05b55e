"""Every limit that bytes from outside are held against, by name, with the reason for its value.

A limit is checked before anything is allocated or believed. Units are in the name or in the text below it.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20

# Content (specs/content.md)

MAX_CHUNK: Final = MIB
"""Bytes of one chunk: 32 bytes of hash buy 1 MiB (0.003 %), and a wrong one costs at most 1 MiB of line."""

MAX_NODE_ENTRIES: Final = 8192
"""Entries of one chunk-list node: 295 KB of leaf, which covers 8 GiB of tensors."""

MAX_NODE_LEVEL: Final = 2
"""Levels above the leaves: 8192³ chunks, 512 PiB at 1 MiB each. Bounds recursion."""

MAX_TABLE: Final = 256 * MIB
"""Bytes of a file table: 100,000 shards need about 15 MB."""

MAX_FILES: Final = 1_000_000
"""Files of one content; a table of that many is held in memory."""

MAX_PATH: Final = 1024
"""Bytes of a path in UTF-8; Windows without long paths stops at 260 UTF-16 units, macOS at 1,024 bytes."""

MAX_PATH_PART: Final = 255
"""Bytes of one part of a path in UTF-8: what ext4, APFS, exFAT and NTFS all take."""

MAX_PATH_DEPTH: Final = 32
"""Parts of a path; no model or dataset in the wild is deeper than 10."""

MAX_FILE: Final = (1 << 53) - 1
"""Bytes of one file or of a whole content: what JSON integers carry exactly."""

# Records (specs/records.md)

MAX_RECORD_PAYLOAD: Final = 768 * KIB
"""Bytes of a record's payload: in base64, with its envelope, it stays under 1 MiB."""

MAX_ENVELOPE: Final = MIB
"""Bytes of a DSSE envelope."""

MAX_JSON_DEPTH: Final = 16
"""Nesting of strict JSON; our deepest record has 5."""

MAX_SIGNATURES: Final = 16
"""Signatures of one envelope: each costs a verification."""

MAX_KEYS: Final = 16
"""Keys of one root."""

MAX_ROOT_CHAIN: Final = 256
"""Roots of one publisher: a rotation a month for twenty years."""

MAX_LINK: Final = 2048
"""Characters of a `samara:` link: what a QR code of version 40 at level M nearly carries."""

MAX_LINK_PEERS: Final = 16
"""Addresses in one link; more are noise, and each costs a dial."""

# Exchange (specs/exchange.md)

MAX_HEADER: Final = 64 * KIB
"""Bytes of a protobuf header: the longest legitimate one (1,024 node hashes) is 35 KB."""

MAX_PAYLOAD: Final = MIB
"""Bytes of a raw payload: one chunk, one node, one page of records or bits."""

MAX_RUN: Final = 64
"""Chunks that one WANT may ask for: 64 MiB are more than a second of any line we serve."""

MAX_OUTSTANDING: Final = 32
"""Requests that one session may have open."""

MAX_NODE_HASHES: Final = 64
"""Nodes that one request may ask for."""

MAX_BITS_PAGE: Final = 1 << 20
"""Bits of one page of availability: 128 KiB."""

UNPROVEN_CHUNKS: Final = 2
"""Outstanding chunks for a peer that has not yet delivered one right chunk."""

BAN_AFTER: Final = 3
"""Wrong chunks until a peer is banned for good; one ends the session and excludes it from that fetch."""

HANDSHAKE_TIMEOUT: Final = 10.0
"""Seconds from a connection to HELLO."""

IDLE_TIMEOUT: Final = 30.0
"""Seconds without any request on a session that serves."""

PROGRESS_WINDOW: Final = 60.0
"""Seconds over which a request must move `PROGRESS_RATE`."""

PROGRESS_RATE: Final = 8 * KIB
"""Bytes a second: below it, a peer stalls."""

MAX_CONNECTIONS: Final = 128
"""Connections of one node, by default."""

MAX_CONNECTIONS_PER_IP: Final = 8
MAX_STREAMS_PER_PEER: Final = 32

# Model headers (protocol/formats)

MAX_SAFETENSORS_HEADER: Final = 100_000_000
"""Bytes: the safetensors library's own limit."""

MAX_GGUF_HEADER: Final = 256 * MIB
"""Bytes of GGUF metadata and tensor infos; a vocabulary of 256k tokens is about 10 MB."""

MAX_TENSORS: Final = 1_000_000
"""Tensors of one file; mixture-of-experts models have some ten thousand."""
