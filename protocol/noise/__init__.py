"""The secure channel: a Noise XX handshake that proves peer ids, and the records that carry bytes after it.

    identity    whose static key it is: the payload that libp2p signs
    handshake   three messages, bytes in and bytes out
    records     sealing and opening, into buffers that the caller has

Source: specs/transport.md, "Secure channel"; the Noise Protocol Framework, revision 34.
"""

from samara.protocol.noise.handshake import Handshake, Secured
from samara.protocol.noise.identity import Identity
from samara.protocol.noise.records import Opener, Sealer
from samara.protocol.noise.suites import AES, CHACHA, SUITES, Suite

__all__ = ["AES", "CHACHA", "SUITES", "Handshake", "Identity", "Opener", "Sealer", "Secured", "Suite"]
