"""Gossipsub, and what is said by it: records of publishers (specs/gossip.md). Sans-IO."""

from samara.protocol.gossip.messages import MESHSUB, Message, Rpc, decode_rpc, encode_rpc, message_id
from samara.protocol.gossip.router import Chance, Router, Unchecked, Verdict

__all__ = [
    "MESHSUB",
    "Chance",
    "Message",
    "Router",
    "Rpc",
    "Unchecked",
    "Verdict",
    "decode_rpc",
    "encode_rpc",
    "message_id",
]
