"""What a value in the DHT must be, by namespace: whoever wants to store values says so, and nothing else is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import trio

from samara.protocol.errors import VerificationError

__all__ = ["Rules", "ValueRule"]


@dataclass(frozen=True, slots=True)
class ValueRule:
    """What values a namespace of the DHT has.

    Attributes:
        validate: Takes a key (text, `/namespace/…`) and a value; raises `VerificationError`. Runs in a worker thread.
        select: Takes a key and several valid values; returns the index of the best. Runs in a worker thread.
    """

    validate: Callable[[str, bytes], None]
    select: Callable[[str, Sequence[bytes]], int]


@final
class Rules:
    """The rules of all namespaces. A key of no namespace, or of one without a rule, has no valid value.

    Args:
        rules: By namespace, without slashes.
    """

    def __init__(self, rules: Mapping[str, ValueRule]) -> None:
        self._rules = dict(rules)

    async def check(self, key: bytes, value: bytes) -> None:
        """Let the rule of its namespace judge a value.

        Raises:
            VerificationError: It is not valid, or there is no rule.
        """
        text, rule = self._rule(key)
        await trio.to_thread.run_sync(rule.validate, text, value)

    async def best(self, key: bytes, values: Sequence[bytes]) -> int:
        """Let the rule of its namespace choose; return the index of the best of valid values.

        Raises:
            VerificationError: There is no rule for this key.
        """
        text, rule = self._rule(key)
        return 0 if len(values) == 1 else await trio.to_thread.run_sync(rule.select, text, values)

    def _rule(self, key: bytes) -> tuple[str, ValueRule]:
        text = key.decode("utf-8", "replace")
        parts = text.split("/", 2)
        rule = self._rules.get(parts[1]) if len(parts) == 3 and not parts[0] and parts[2] else None
        if rule is None or text.encode() != key:
            raise VerificationError(f"no rule says what a value under {text[:80]!r} is")
        return text, rule
