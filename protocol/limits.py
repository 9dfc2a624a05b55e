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

MAX_NODE_LEVEL: Final = 1
"""Levels above the leaves: one level of inner nodes over 8192² chunks is more than `MAX_STREAM_CHUNKS`."""

MAX_STREAM_CHUNKS: Final = 1 << 22
"""Chunks of one file or table: 4 TiB of tensors, or about 300 GB of anything else. Two small nodes whose entries repeat
can claim 8192² chunks; a flat list of this many takes 180 MB."""

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
"""Bytes of a record's payload: three quarters of `MAX_ENVELOPE`, so that nothing which fits into an envelope in base64
is too long for its own place. What is around it, and its signatures, need room as well, up to 175 KB by those limits:
the envelope's own binds first, and who seals more is told so. A smaller one here would refuse what fits."""

MAX_ENVELOPE: Final = MIB
"""Bytes of a DSSE envelope."""

MAX_JSON_DEPTH: Final = 16
"""Nesting of strict JSON; our deepest record has 5."""

MAX_SIGNATURES: Final = 16
"""Signatures of one envelope: each costs a verification."""

MAX_SIGNATURE: Final = 8 * KIB
"""Bytes of one signature of a kind not known yet; Ed25519 has 64, ML-DSA-87 4,627."""

MAX_KEYID: Final = 256
"""Characters of a key id; a did:key of Ed25519 has 56."""

MAX_KEYS: Final = 16
"""Keys of one root."""

MAX_ROOT_CHAIN: Final = 256
"""Roots of one publisher: a rotation a month for twenty years."""

MAX_CRITICAL: Final = 16
"""Names in a `critical` list; a predicate has fewer fields that could be."""

MAX_TEXT: Final = 256
"""Code points of a text that may be shown: three lines of a terminal."""

MAX_LIST: Final = 64
"""Entries of a list of texts in a record."""

MAX_CONTRIBUTORS: Final = 1024
"""Contributors of a release: a large dataset names its annotators."""

MAX_POSITION: Final = (1 << 53) - 1
"""The last position of a log: what JSON integers carry exactly. Who jumps there is outranked by a new root."""

MAX_PATTERNS: Final = 64
"""Patterns of names in one delegation."""

MAX_COLLECTION: Final = 1024
"""Releases in one collection: at 256 bytes and a note each, half of a payload."""

MAX_COLLECTION_PUBLISHERS: Final = 256
"""Publishers in a collection: the keys of a community, which somebody is to look through."""

MAX_BOUND_KEY: Final = 91
"""Bytes of a bound key: P-256 in DER, uncompressed, is always this long."""

MAX_FORK_PROOF: Final = 2 * MIB + 8
"""Bytes of a fork proof: two envelopes with their lengths."""

MAX_RECORD_FILE: Final = 256 * MIB
"""Bytes of a file of records: a quarter of a million of the usual size."""

MAX_FILE_PUBLISHERS: Final = 4096
"""Publishers in one file of records, as many as releases on a stick."""

MAX_TRUST_FILE: Final = 256 * KIB
"""Bytes of `trust.toml`: a thousand rules with keys."""

MAX_TRUST_RULES: Final = 1024
"""Rules of `trust.toml`: each is held against each release that is judged."""

FUTURE_SLACK: Final = 86_400
"""Seconds that a record may be ahead of the clock: a day, for clocks that were set without their time zone."""

HEAD_LIFETIME: Final = 366 * 86_400
"""Seconds after which a head says that a newer one is to be expected: a year, for sites where nobody comes oftener."""

MAX_FOLLOWED_SEQUENCE: Final = 1 << 32
"""Sequence up to which a publisher's head goes on from one of a delegate whose delegation has ended: more than anybody
has released, and as long as it is, no delegate can lead a name to the last sequence there is."""

FLOOR_REACH: Final = 2 * 366 * 86_400
"""Seconds beyond the floor of time up to which a clock is believed, and beyond its anchor to which records alone carry
it: two years, which a machine may well have been away, while a clock that is off is mostly off by far more."""

MAX_STRANGERS: Final = 1024
"""Publishers whose records are kept though nothing of theirs is held and they have no name here: ids cost nothing."""

MAX_RECORDS_STRANGER: Final = 64
"""Records that are kept of a stranger: enough to know its names when it becomes more than that."""

MAX_RECORD_BYTES_STRANGER: Final = 256 * KIB
"""Bytes of those records, and of its roots: all strangers together take 256 MiB at most."""

MAX_RECORDS_KNOWN: Final = 16_384
"""Records that are kept of a publisher who has a name here or of whom something is held: one a day for 45 years."""

MAX_RECORD_BYTES_KNOWN: Final = 64 * MIB
"""Bytes of those records: 4 KiB each."""

MAX_FOLLOWS: Final = 256
"""Publishers and collections that are followed: each costs a question an hour, and may fill what is kept of one."""

MAX_LISTED_KEPT: Final = 8192
"""Entries of collections that are kept for searching of one collector who is followed: eight whole collections."""

MAX_FORKS_KEPT: Final = 8
"""Proven forks that are kept of one publisher: one freezes it, and another is news only when that one is over."""

MAX_CARD: Final = 64 * KIB
"""Bytes of a model card or LICENSE that are looked at for a licence; the front matter is the first few kilobytes."""

MAX_LINK: Final = 2048
"""Characters of a `samara:` link: what a QR code of version 40 at level M nearly carries."""

MAX_LINK_PEERS: Final = 16
"""Addresses in one link; more are noise, and each costs a dial."""

MAX_ADDRESS: Final = 256
"""Characters of one multiaddr: the longest host name (253) hardly fits, and nobody has one."""

# Delta packs (specs/deltas.md)

MAX_DELTA_HEAD: Final = 256 * MIB
"""Bytes of a pack's head, which is read whole: a model of 400 GB has 400,000 chunks of 113 bytes there, 45 MB; a table
of a million files fits, too."""

# Keys (specs/keys.md)

KEY_LOG_N: Final = 17
"""log2 of scrypt's N in a key file that is sealed today: 128 MiB and a third of a second, which a machine of 4 GB can
spare, and which makes a guess dear."""

MIN_KEY_LOG_N: Final = 14
"""The least that is read: 16 MiB. Less was never worth sealing with."""

MAX_KEY_LOG_N: Final = 20
"""The most that is read: 1 GiB. A hostile file could ask for 2^255 times as much."""

MAX_AGENT_MESSAGE: Final = 256 * KIB
"""Bytes of a message to or from an agent that holds a key: OpenSSH's takes and sends no longer one."""

AGENT_ANSWER: Final = 10.0
"""Seconds within which an agent says which keys it has: a card that is in the machine is read in two or three."""

AGENT_SIGN: Final = 60.0
"""Seconds within which an agent signs: time to find the device, to type its PIN and to touch it."""

MAX_PASSPHRASE: Final = KIB
"""Bytes of a passphrase in UTF-8; nobody types more."""

MIN_PASSPHRASE: Final = 8
"""Code points of a passphrase with which a key is sealed: what is shorter is guessed, whatever a guess costs."""

MAX_ROOT_FILE: Final = 4 * MIB
"""Bytes of a root file: 256 roots of 16 keys and signatures each have 1.2 MB."""

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

MAX_RECORDS: Final = 4 * MIB
"""Bytes of all envelopes of one answer: a release, a head, and 256 roots of a few KB."""

MAX_AHEAD: Final = MAX_PAYLOAD
"""Bytes of the table and lists that may come with records: one payload, the lists of 28 GB. A liar wastes as much."""

MAX_AHEAD_OBJECTS: Final = 4096
"""Nodes and chunks among them: so many files of a few chunks. Each costs a hash, and up to three bytes of a header."""

MAX_LOG_FORKS: Final = 16
"""Proofs of forks in one answer: each freezes a publisher alone, and takes up to two envelopes."""

MAX_LOG_REVOCATIONS: Final = 256
"""Revocations that one answer brings ahead of their places in the log, and heads of delegates, which have none; what is
more of the first comes in its place, and of the second with its release."""

MAX_LOG_ENTRIES: Final = 4096
"""Records of a log in one answer: so many of the usual kilobyte fill `MAX_RECORDS`, and cost a second to verify."""

MAX_LOG_SEEN: Final = 16
"""Records before those that were asked for, of which one answer shows that witnesses co-signed them: few are named."""

MAX_LOG_PAGES: Final = 64
"""Questions to one peer about one log in one go: a hundred thousand records in a row, or as many gaps."""

MAX_AGENT: Final = 64
"""Bytes of what a peer says it runs."""

MAX_VERSIONS: Final = 16
"""Protocol versions that a HELLO names."""

MAX_FEATURES: Final = 32
"""Features that a HELLO names, each of at most 64 bytes."""

MAX_ENCODINGS: Final = 32
"""Chunk encodings that a HELLO or a WANT names."""

MAX_BASES: Final = 16
"""Contents that a WANT names as bases of a delta."""

MAX_RETRY_MS: Final = 3_600_000
"""Milliseconds until a busy peer wants to be asked again: an hour; after that its address may have changed."""

UNPROVEN_CHUNKS: Final = 2
"""Outstanding chunks for a peer that has not yet delivered one right chunk."""

GIVING_CHUNKS: Final = 8
"""The same for one that has delivered right nodes of the content's lists: about what a long line lets through while two
chunks and the next question are under way. More would keep from others what a slow line takes a minute for."""

BAN_AFTER: Final = 3
"""Wrong chunks until a peer is banned for good; one ends the session and excludes it from that fetch."""

MAX_WRONG_PEERS: Final = 4096
"""Peers that did something wrong and are remembered: an id costs its owner nothing."""

MAX_WINDOW: Final = 32 * MIB
"""Bytes that one peer may owe us: half a second of the fastest line, and what a session may hold in memory."""

MAX_RUN_BYTES: Final = 4 * MIB
"""Bytes of one run: what its holder reads at a time. A run that is a little longer costs two reads."""

STALL_PATIENCE: Final = 15.0
"""Seconds without a byte until what a peer owes is asked of others; a peer that stalled before gets more."""

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
"""Connections of one IP address: a few machines behind one NAT."""

MAX_CONNECTIONS_PER_SUBNET: Final = 32
"""Inbound connections of one IPv4 /24 or IPv6 /56: what one customer of a provider can rent for little."""

MAX_INBOUND_SHARE: Final = 0.75
"""Share of all connections that others may open: the rest stays ours, so that a flood cannot stop our own dials."""

MAX_STREAMS_PER_PEER: Final = 32
"""Streams that one peer may have open to us."""

# Encodings (specs/encodings.md)

MAX_PLANES: Final = 16
"""Planes of a chunk in transfer: each is a frame to unpack. Blocks of Q5_K, with seven fields, have the most of all."""

# Network (specs/network.md)

UPGRADE_TIMEOUT: Final = 10.0
"""Seconds from an accepted socket to an authenticated, multiplexed connection, and for a stream's negotiation."""

HALF_OPEN_PATIENCE: Final = 3.0
"""Seconds that a handshake has until another may take its place: two to wait until all who came before are answered,
and its round trips. Those who sit there in silence could else keep others out for all of `UPGRADE_TIMEOUT`."""

REFUSALS_A_SECOND: Final = 4000
"""Sockets that are refused at the door: each costs some 20 microseconds. Those beyond wait in the system."""

PLACE_LASTS: Final = 2.0
"""Seconds for which an address has a place less from when it took it: who comes and goes, again and again, has others'
handshakes wait. No honest peer dials more than eight times in as long."""

HANDSHAKES_A_SECOND: Final = 50
"""Handshakes with those who dial us: each costs two milliseconds, with all that is made for the connection and ends
with it. Those beyond wait, within `UPGRADE_TIMEOUT`."""

PINGS_A_SECOND: Final = 200
"""Pings of libp2p that are answered, of all peers: 32 bytes cost a tenth of a millisecond. Those beyond wait."""

PENALTY: Final = 10.0
"""Seconds for which an address has a place less after a connection that broke the rules: to come back at once would
undo all that limits one connection."""

STALLED_WRITE: Final = 30.0
"""Seconds in which a socket takes not a single byte more: the peer, or the way to it, is dead."""

IDLE_CONNECTION: Final = 600.0
"""Seconds after which a connection without streams is closed; a new one costs two round trips."""

IDLE_CONNECTION_FULL: Final = 30.0
"""The same, when most connections are in use."""

MAX_HANDSHAKE_MESSAGE: Final = 8 * KIB
"""Bytes of one message of the Noise handshake; the longest, with an RSA key of 8,192 bits, has about 2.5 KB."""

MIN_RSA_BITS: Final = 2048
"""Bits of an RSA node key at least, as libp2p asks."""

MAX_RSA_BITS: Final = 8192
"""Bits of an RSA node key at most: to verify with a longer one costs milliseconds."""

MAX_NOISE_RECORD: Final = 65_535
"""Bytes of one Noise message, tag included: its length field has 16 bits."""

MAX_RECORD: Final = 256 * KIB
"""Bytes of plaintext in one record of Samara's own channel; nothing of a record is seen before all of it is here."""

REKEY_AFTER: Final = 1 << 18
"""Records under one AES key, 64 GiB at most: a sixth of what RFC 8446, §5.5, holds to be safe for AES-GCM."""

MAX_RECORDS_OF_A_KEY: Final = 1 << 48
"""Records under a key that cannot be replaced, 16 EiB: the connection ends long before the counter does."""

STREAM_WINDOW: Final = 256 * KIB
"""Bytes that a new stream may carry each way before anybody grants more: Yamux fixes it."""

BULK_WINDOW: Final = 32 * MIB
"""Bytes on their way on a stream of chunks: 1 Gbit/s at 250 ms. What was not asked for ends the session at once."""

MAX_UNREAD: Final = 1 * MIB
"""Bytes of one connection that lie here unread before its socket is read no further: 128 connections hold 128 MiB."""

MAX_CONTROL_BACKLOG: Final = 64 * KIB
"""Bytes of answers to a peer's control frames that wait for it to read: it asks, and does not listen."""

FRAME_CREDIT: Final = 10_000
"""Frames, and records without one, that a connection may be ahead of what it carries: each costs us time."""

FRAME_CREDIT_AT_FIRST: Final = 2_000
"""Frames that a new connection may send: a part of the rest, for who wastes these comes back with as many; enough for
two hundred streams at once."""

STREAM_CREDIT: Final = 5
"""Frames that it costs to open a stream, beside its own: to negotiate on one costs us as much as tens of them."""

FRAME_BYTES: Final = 64
"""Bytes of data that earn one frame."""

FRAME_CREDIT_A_SECOND: Final = 100
"""Frames that a connection earns by time: pings, windows and small messages of an honest peer are far fewer."""

EFFORT_A_SECOND: Final = 25_000
"""Units of effort that a node has for all connections that want more than theirs: a unit is some 3 microseconds, a
frame's time, and so this is a twelfth of a processor."""

EFFORT_FREE: Final = 600
"""Units that a connection may be ahead: what its first streams cost. For who comes anew, again and again, it is not
much more than the handshake."""

EFFORT_FREE_A_SECOND: Final = 100
"""Units that a connection has by time. A hundred of them together have less than a twentieth of a processor."""

EFFORT_OF_AN_OPENING: Final = 25
"""Units that a frame which opens a stream costs more than another, whatever becomes of the stream."""

EFFORT_OF_A_STREAM: Final = 200
"""Units that a stream of the peer's costs: a task, a negotiation, two writes."""

EFFORT_OF_A_FEW_BYTES: Final = 16
"""Units that a read or a write of less than `EFFORT_BYTES` costs, when it is not bulk that somebody waits for."""

EFFORT_BYTES: Final = 4 * KIB
"""Bytes either way that earn a unit: an honest peer that gets or gives chunks has a frame in 64 KiB or more."""

KEEP_ALIVE: Final = 30.0
"""Seconds of silence after which a connection is pinged, and again after which it is dead."""

HEARD_LATELY: Final = 5.0
"""Seconds of silence up to which a connection is taken to live: a stream is used before the peer has agreed on it. Who
speaks at once over one that died has lost what it said; one that was silent for longer is asked first, and replaced."""

TRICKLE: Final = 8 * KIB
"""Bytes a second that pass at a rate of 0: as `PROGRESS_RATE`, so that who waits for a small answer sees it move."""

MAX_WINDOWS: Final = 64
"""Windows of a schedule: nine a day for a week, and to look for the next change in more would cost milliseconds."""

MAX_NEGOTIATION: Final = 1 * KIB
"""Bytes of one multistream-select message; the longest protocol name in use has about 60."""

MAX_NEGOTIATIONS: Final = 16
"""Protocols that a peer may propose on one stream before it is reset."""

MAX_IDENTIFY: Final = 16 * KIB
"""Bytes of an identify message; one with 60 protocols and 20 addresses has 4 KB."""

MAX_PROTOCOLS: Final = 256
"""Protocols of a peer that are remembered."""

MAX_PEER_ADDRESSES: Final = 8
"""Addresses of one peer that are kept, dialled or passed on: each costs others a dial."""

MAX_MATES: Final = 32
"""Peers that one answer tells of a content: as many as one fetch asks."""

MAX_MATE_ADDRESSES: Final = 2
"""Addresses of one of them: all are at one IP, where few peers listen twice; each costs somebody a dial on hearsay."""

MAX_MATES_MESSAGE: Final = 4 * KIB
"""Bytes of such an answer: 32 peers with two IPv6 addresses each have less than 3 KB."""

MAX_MATES_KEPT: Final = 4096
"""Peers that are remembered as taking part in a content, and those whose last question is: 32 for each connection."""

MATES_AGE: Final = 600.0
"""Seconds for which a peer is told after it took part last: as long as a connection that nobody uses stands."""

MATES_SPACING: Final = 2.0
"""Seconds between two answers to one peer about one content."""

MATES_AGAIN: Final = 30.0
"""Seconds between two questions to one peer, once the first ones are over: in so many, some come and some go."""

MAX_LOGS_BYTES: Final = 32 * MIB
"""Bytes of records that one peer may send in one go: some thirty thousand, more than one publisher is kept of."""

MAX_LOGS_OF_A_PEER: Final = 256
"""Publishers whose logs one peer is asked for in one go: each costs a round trip, and more than people follow."""

MAX_LISTED_ASKED: Final = 128
"""Publishers that are asked for in one round because collections list them: half of what one peer is asked for, so that
those whom the user named have their place; the others have their turn in another round."""

MAX_LOGS_PEERS: Final = 32
"""Peers that are asked in one round: as many as one fetch asks."""

LOGS_TIME: Final = 120.0
"""Seconds that one peer has to tell what it knows; the rest is asked for in the next round."""

LOGS_GRACE: Final = 3.0
"""Seconds for which a fetch that has all its bytes waits for records: a slow peer must not hold it up for longer."""

LOGS_DHT_GRACE: Final = 1.0
"""Seconds for which the same fetch waits for the DHT: a look-up of peers that answer takes less."""

LOGS_FIRST: Final = 20.0
"""Seconds from the start of the network to the first round: by then peers nearby are found, and the DHT is joined."""

LOGS_EVERY: Final = 3600.0
"""Seconds between two rounds: a revocation reaches whoever is connected within hours, and asking costs a kilobyte."""

MAX_CREDITS_KEPT: Final = 4096
"""Peers of which is remembered how much they gave: as many as come by in days, in half a megabyte."""

MAX_FETCH_PEERS: Final = 32
"""Peers that one fetch has a task for; few lines carry more, and each costs a session and its buffers."""

MAX_FETCH_WAITING: Final = 256
"""Peers more that wait until one of these gave nothing for long; those beyond are dropped and found again later."""

DIAL_STAGGER: Final = 0.25
"""Seconds that one address has before the next is tried beside it (RFC 8305); a failure starts the next at once."""

MAX_NEARBY: Final = 256
"""Peers that mDNS remembers: more than fit into one broadcast domain of people."""

MAX_KAD_MESSAGE: Final = 256 * KIB
"""Bytes of one DHT message: a value, 20 closer peers and 20 providers with 8 addresses each have about 160 KB."""

MAX_KAD_KEY: Final = 128
"""Bytes of a DHT key."""

MAX_KAD_VALUE: Final = 128 * KIB
"""Bytes of a DHT value: a head and some 100 roots, or a log's roots, revocations and newest record."""

MAX_ANNOUNCED_LOG: Final = 64
"""Records in the DHT's value of a log: revocations of years, which a server verifies in 10 ms."""

MAX_KAD_VALUES: Final = 64 * MIB
"""Bytes of all values that one node keeps for others."""

MAX_PROVIDER_RECORDS: Final = 65_536
"""Provider records that one node keeps for others, about 30 MB."""

MAX_PROVIDED_KEYS: Final = 4096
"""Keys under which one provider is remembered: one peer cannot fill the store."""

PROVIDER_EXPIRY: Final = 24 * 3600.0
"""Seconds that a provider record or a value is kept: four announcing intervals."""

KAD_BUCKET: Final = 20
"""Kademlia's k: peers of a bucket, and peers that keep one record."""

KAD_ALPHA: Final = 4
"""Requests of one lookup that are under way at once."""

KAD_REQUEST_TIMEOUT: Final = 8.0
"""Seconds for one DHT request, dial included."""

KAD_IDLE: Final = 20.0
"""Seconds of silence after which a DHT stream is closed: it holds one of few places."""

MAX_KAD_STREAMS: Final = 64
"""DHT streams that are served at once, of which one peer has at most `MAX_KAD_STREAMS_PER_PEER`."""

MAX_KAD_STREAMS_PER_PEER: Final = 4

MAX_LOOKUP: Final = 80
"""Peers that one lookup asks: four times k, so that a peer that invents others cannot lead it on for ever."""

ANNOUNCE_WINDOW: Final = 10.0
"""Seconds over which `ANNOUNCES_PER_WINDOW` counts."""

ANNOUNCES_PER_WINDOW: Final = 8
"""Provider records that we send to one peer in a window; other implementations reset above 10."""

ANNOUNCES_TAKEN: Final = 16
"""Provider records that we take of one peer in a window; above it the stream is reset."""

MAX_REACH_MESSAGE: Final = 2 * KIB
"""Bytes of a message of the reach protocol: 8 addresses."""

REACH_DIALS: Final = 4
"""Addresses that are dialled back for one request."""

REACH_SPACING: Final = 10.0
"""Seconds between two requests of one peer that are served."""

REACH_AGE: Final = 7200.0
"""Seconds for which a proven address counts as reachable; half of it passes before it is proven anew."""

# Gossip (specs/gossip.md)

GOSSIP_D: Final = 6
"""Peers of a mesh, as gossipsub has it: a message reaches thousands in a few steps, and each gets it some six times."""

GOSSIP_D_LOW: Final = 4
"""Peers of a mesh below which others are taken in: one step less than `GOSSIP_D`, and swarms are small."""

GOSSIP_D_HIGH: Final = 12
"""Peers of a mesh above which some are let go."""

GOSSIP_D_OUT: Final = 2
"""Peers of a mesh that this node has dialled: who dials us, however often, is never all of it."""

GOSSIP_D_LAZY: Final = 6
"""Peers outside the mesh that are told ids at each heartbeat."""

GOSSIP_HEARTBEAT: Final = 1.0
"""Seconds between two looks at the meshes, as others have them."""

GOSSIP_BACKOFF: Final = 60.0
"""Seconds for which two peers that parted in a mesh leave each other alone, as others have it."""

GOSSIP_BACKOFF_MOST: Final = 3600.0
"""Seconds of the longest backoff that a peer may ask for: what it asks for is remembered."""

GOSSIP_PROMISE: Final = 3.0
"""Seconds in which a peer brings what it said to have: three heartbeats, as others have it."""

GOSSIP_SEEN: Final = 120.0
"""Seconds for which the id of a message is remembered; the ledger knows the record afterwards."""

GOSSIP_FORGIVES: Final = 600.0
"""Seconds after which half of what a peer did wrong is forgotten: as long as a connection that nobody uses stands."""

GOSSIP_REJECTED: Final = 4
"""Messages that nobody signed until their sender is an outcast: no honest peer forwards one."""

GOSSIP_BREACHES: Final = 16
"""Breaches of the protocol until a peer is an outcast: clients differ, and lines lose what was promised."""

GOSSIP_STALL: Final = 60.0
"""Seconds in which a peer takes nothing of what waits for it until its stream is given up."""

GOSSIP_UNITS_A_SECOND: Final = 500
"""Units of work that a peer may cause: an RPC, a part of one, and a KiB are one each, some 5 microseconds. Twenty peers
that do their worst take a twentieth of a processor."""

GOSSIP_CHECKS_A_SECOND: Final = 50
"""Messages of all peers that are checked: each costs about a millisecond, and a publisher says a few things a day."""

GOSSIP_SPACING: Final = 5.0
"""Seconds in which one publisher may have one more message forwarded: 720 an hour."""

MAX_GOSSIP_BURST: Final = 64
"""Messages of one publisher that are forwarded at once: a new version of many models. Who says more is asked for it."""

GOSSIP_ASK_SPACING: Final = 10.0
"""Seconds between two questions to one peer for one log because of gossip: who sends gaps makes us ask."""

GOSSIP_ASK_TIME: Final = 20.0
"""Seconds that such a question takes at most."""

MAX_GOSSIP_ASK_BYTES: Final = 4 * MIB
"""Bytes that it brings at most: one answer. The rest comes with the next round."""

MAX_GOSSIP_ASKS: Final = 32
"""Such questions that wait: as many peers as one round asks."""

MAX_GOSSIP_RPC: Final = 256 * KIB
"""Bytes of one RPC: a peer that follows a thousand topics names them in 100 KB."""

MAX_GOSSIP_PARTS: Final = 4096
"""Parts of one RPC: each costs microseconds, and honest ones have a few hundred."""

MAX_GOSSIP_DATA: Final = 64 * KIB
"""Bytes of one message: records have one or two KB, and a mesh carries each several times. Collections that are longer
are asked for."""

MAX_GOSSIP_TOPIC: Final = 128
"""Bytes of a topic: ours have 80."""

MAX_GOSSIP_TOPICS: Final = 256
"""Topics that a node follows: as many logs as it asks one peer for."""

MAX_GOSSIP_PEER_TOPICS: Final = 512
"""Topics of one peer that are remembered, whether or not they are followed here: twice what we follow."""

MAX_GOSSIP_IHAVE: Final = 10
"""Lists of ids of one peer that are looked at in a heartbeat, as others have it."""

MAX_GOSSIP_IHAVE_IDS: Final = 512
"""Ids in them that are looked at, and that are sent."""

MAX_GOSSIP_ASKED: Final = 64
"""Messages that one peer is asked for in a heartbeat: 4 MiB at most."""

MAX_GOSSIP_ANSWERED: Final = 16
"""Messages that one peer gets in a heartbeat because it asked: 1 MiB at most, and mostly 25 KB."""

MAX_GOSSIP_RETRIES: Final = 3
"""Times that one peer gets one message because it asked, as others have it."""

MAX_GOSSIP_IDS: Final = 16_384
"""Ids that are remembered: `GOSSIP_CHECKS_A_SECOND` make 6,000 in `GOSSIP_SEEN`."""

MAX_GOSSIP_CACHE: Final = 4 * MIB
"""Bytes of messages that are kept for those who ask, for five heartbeats."""

MAX_GOSSIP_UNCHECKED: Final = 32
"""Messages of one peer that wait to be checked: half a second of `GOSSIP_CHECKS_A_SECOND`."""

MAX_GOSSIP_UNCHECKED_BYTES: Final = 128 * KIB
"""Bytes of these: 128 peers have 16 MiB."""

MAX_GOSSIP_BACKOFFS: Final = 8192
"""Backoffs that are remembered: 32 topics with 256 peers."""

MAX_GOSSIP_SCORES: Final = 1024
"""Peers of which is remembered what they did wrong: an id costs its owner nothing."""

MAX_GOSSIP_QUEUE: Final = 2 * MIB
"""Bytes that wait for one peer: 32 of the longest messages. They are the same bytes for all peers."""

MAX_GOSSIP_TOLD: Final = 4
"""Items that are told of what came in one go from elsewhere: who hears the newest asks for the rest."""

MAX_GOSSIP_KEPT: Final = 16
"""Connections that are kept for the sake of meshes: four topics with all of theirs, an eighth of all places."""

# Stick (specs/stick.md)

MAX_STICK_RELEASES: Final = 4096
"""Labels of a stick that are looked at: each costs some ten reads and signatures."""

MAX_STICK_MARK: Final = 4096
"""Bytes of `stick.json` or of a commit record; ours have 200, and a cluster is rarely smaller."""

STICK_PART: Final = 4095 * MIB
"""Bytes of a part that is written: FAT32 takes 4 GiB less one byte."""

MIN_STICK_PART: Final = 64 * KIB
"""Bytes of a part that are accepted at least; nobody needs them that small but tests."""

MAX_STICK_PART: Final = (1 << 32) - 1
"""Bytes of a part that are accepted at most."""

MAX_STICK_PARTS: Final = 4096
"""Parts of one file: 16 TiB in parts of 4,095 MiB, four times what the longest chunk list holds."""

MAX_STICK_LOG: Final = 80 * MIB
"""Bytes of the records of one publisher on a stick: what a home keeps of one, with roots and proofs of forks."""

# Model signing (specs/oms.md)

MAX_OMS_SIGNATURE: Final = 16 * MIB
"""Bytes of a `model.sig`: about 80,000 files with paths of 30 characters. As hostile JSON it takes 400 MB to parse; a
longer one, for the largest datasets, would take more than a machine of 4 GB can spare."""

MAX_OMS_PAYLOAD: Final = 12 * MIB
"""Bytes of the statement in it: what `MAX_OMS_SIGNATURE` holds in base64, less what is around it."""

MAX_OMS_SIG: Final = 144
"""Bytes of one ECDSA signature in DER: on P-521 it has 139 at most."""

MAX_OMS_KEY: Final = 4 * KIB
"""Bytes of a PEM file with a public key; one on P-521 has 268."""

MAX_OMS_TRIED: Final = 4096
"""Records that bind keys, of which one may be of who made a signature file: at a fifth of a millisecond each, what
strangers add to a store does not keep `verify` busy."""

MAX_OMS_IGNORED: Final = 256
"""Paths that a `model.sig` says are not looked at; ours names 7 or 8, and each is compared with every file."""

# Model headers (protocol/formats)

MAX_SAFETENSORS_HEADER: Final = 100_000_000
"""Bytes: the safetensors library's own limit."""

MAX_GGUF_HEADER: Final = 256 * MIB
"""Bytes of GGUF metadata and tensor infos; a vocabulary of 256k tokens is about 10 MB."""

MAX_TENSORS: Final = 1_000_000
"""Tensors of one file; mixture-of-experts models have some ten thousand."""

MAX_CHECKED_TENSORS: Final = 65_536
"""Tensors of one file that a header is checked for, before facts are told or an engine is started: the largest
mixture-of-experts model in one file has 37,000, and their names are held in memory to find doubles."""

MAX_TENSOR_NAME: Final = 256
"""Bytes of a safetensors tensor's name; the longest in use have about 120."""

MAX_TENSOR_ENTRY: Final = 4 * KIB
"""Bytes of one tensor's JSON in a safetensors header: dtype, shape and offsets need 200."""

MAX_TENSOR_DIMENSIONS: Final = 16
"""Dimensions of a safetensors tensor; convolutions have 5."""

MAX_HEADER_VALUE: Final = 4 * MIB
"""Bytes of one string in a safetensors `__metadata__`; trainers embed thumbnails of about 1 MB there."""

MAX_HEADER_METADATA: Final = 8 * MIB
"""Bytes of a safetensors `__metadata__`: each is looked at, and they cost 10 to 100 ns a byte."""

MAX_HEADER_KEYS: Final = 16_384
"""Key-value pairs of one header; models have 20 to 60, and every key is held to find doubles."""

MAX_HEADER_KEY: Final = 1024
"""Bytes of such a key; the longest in use have about 60."""

MAX_HEADER_STRINGS: Final = 1 << 22
"""Strings in all arrays of one GGUF header, which are passed one by one: a vocabulary of 262,144 with its merges has
800,000, and 4 million take about half a second."""

MAX_CHAT_TEMPLATE: Final = MIB
"""Bytes of a chat template; the longest in use have about 20 KB, and the engine interprets it."""

MAX_SHOWN_TEXT: Final = 256
"""Characters of a model's own words (its name, its licence) that are shown."""

MAX_LAYERS: Final = 512
"""Transformer blocks: llama.cpp's own fixed arrays have 512, and it aborts the process above."""

MAX_HEADS: Final = 4096
"""Attention heads of one layer; the largest models have 128."""

MAX_EMBEDDING: Final = 1 << 20
"""Width of a token's vector, of a feed-forward layer or of a head; the widest in use have some 50,000."""

MAX_CONTEXT: Final = 1 << 28
"""Tokens of context; the longest claim in use is 10 million."""

MAX_EXPERTS: Final = 4096
"""Experts of one layer; the largest models have 512."""

MAX_PARQUET_FOOTER: Final = 4 * MIB
"""Bytes of a parquet footer that is read, in about a second each 4 MiB: it makes nothing but advice. Most have some
10 KB, and one of a thousand columns in a hundred row groups is longer."""

MAX_PARQUET_DEPTH: Final = 16
"""Things inside each other in a parquet footer; the format has 8."""

MAX_PARQUET_PAGE_HEADER: Final = 64 * KIB
"""Bytes of the header of a parquet page: 30, and the smallest and the largest value, which writers cut off."""

MAX_PARQUET_COLUMNS: Final = 4
"""Columns of a parquet file of which pages are looked at: the largest are what a change costs."""

MAX_PARQUET_PAGES: Final = 16
"""Pages of each that are looked at: each is a read somewhere else in the file."""

MAX_SHARDS: Final = 1024
"""Files of one split model; the largest have some 200."""
