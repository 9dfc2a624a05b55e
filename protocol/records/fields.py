"""Reading the fields of a record: each is there, of its type, and in its bounds, or `StatementError` says which is not.

Every validator of a record reads through `Fields`, so that a bound cannot be forgotten and every text that may reach a
terminal has passed the same rule. Unknown fields are never looked at (specs/records.md §3).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, TypeVar, final

from samara.protocol.dsse import is_weak_key
from samara.protocol.errors import LinkError, StatementError
from samara.protocol.ids import ContentId, parse_content, parse_did_key, parse_record
from samara.protocol.limits import MAX_LIST, MAX_TEXT
from samara.protocol.strictjson import MAX_INTEGER

__all__ = ["NAME", "PETNAME", "VERSION", "Fields", "format_time", "is_displayable", "parse_time"]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""The name of a release."""

VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""The version of a release."""

PETNAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""A reader's own name for a publisher."""

# What a text must not have: the closed list of specs/records.md §3. Written as escapes on purpose.
_UNFIT: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f"  # controls: a terminal obeys them
    "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069"  # bidirectional controls
    "\\u00ad\\u180e\\u200b\\u2028\\u2029\\u2060-\\u2065\\u206a-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\U000e0000-\\U000e0fff"  # this line and the one before: invisible
    "\\ud800-\\udfff\\ufdd0-\\ufdef"
    + "".join(f"\\U{plane:04x}fffe\\U{plane:04x}ffff" for plane in range(17))  # noncharacters
    + "]"
)
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_E = TypeVar("_E", bound=Enum)
_T = TypeVar("_T")


def is_displayable(text: str) -> bool:
    """Return whether `text` may be shown to a person as it is.

    Source: specs/records.md §3, "Text".
    """
    return 0 < len(text) <= MAX_TEXT and text.strip(" ") == text and not _UNFIT.search(text)


def parse_time(text: str) -> int:
    """Return the seconds since 1970 (UTC) of `YYYY-MM-DDTHH:MM:SSZ`.

    Raises:
        StatementError: Another form, or a moment that never was.
    """
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month, day, hour, minute, second = map(int, found.groups())
        seconds = (datetime(year, month, day, hour, minute, second, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
        if seconds < 0:
            raise ValueError
    except ValueError:
        raise StatementError(f"not a time of the form YYYY-MM-DDTHH:MM:SSZ: {text[:40]!r}") from None
    return seconds


def format_time(seconds: int) -> str:
    """Return `YYYY-MM-DDTHH:MM:SSZ` of seconds since 1970 (UTC).

    Raises:
        StatementError: Before 1970 or after 9999.
    """
    try:
        if seconds < 0:
            raise OverflowError
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        raise StatementError(f"{seconds} seconds since 1970 are no time that a record can state") from None


@final
class Fields:
    """The fields of one JSON object, read strictly.

    Args:
        value: What is to be an object.
        what: Its name in messages.

    Raises:
        StatementError: It is not an object.
    """

    __slots__ = ("_raw", "_what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise StatementError(f"{what}: expected an object")
        self._raw: dict[str, object] = value
        self._what = what

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def get(self, name: str) -> object:
        """Return the raw value of a required field."""
        if name not in self._raw:
            raise StatementError(f"{self._what}: {name} is missing")
        return self._raw[name]

    def maybe(self, name: str, read: Callable[[str], _T]) -> _T | None:
        """Return `read(name)`, or None when the field is missing (null is not missing)."""
        return read(name) if name in self._raw else None

    def group(self, name: str) -> Fields:
        """Return a required field that is an object itself."""
        return Fields(self.get(name), f"{self._what}: {name}")

    def integer(self, name: str, least: int = 0, most: int = MAX_INTEGER) -> int:
        """Return an integer between `least` and `most`, both included."""
        value = self.get(name)
        # bool is an int in Python, and not in JSON.
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, f"an integer from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def true(self, name: str) -> bool:
        """Return true: such a field is left out where it would be false."""
        if not self.flag(name):
            raise self._wrong(name, "true, or no such field")
        return True

    def exactly(self, name: str, expected: str) -> None:
        """Require the field to be this text."""
        if self.get(name) != expected:
            raise self._wrong(name, repr(expected))

    def text(self, name: str) -> str:
        """Return a text that may be shown."""
        return self._text(name, self.get(name))

    def match(self, name: str, pattern: re.Pattern[str]) -> str:
        """Return a text that `pattern` matches as a whole."""
        value = self.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._wrong(name, f"text of the form {pattern.pattern}")
        return value

    def texts(self, name: str, most: int = MAX_LIST) -> tuple[str, ...]:
        """Return a list of at most `most` different texts that may be shown."""
        found = tuple(self._text(name, item) for item in self.items(name, most))
        if len(set(found)) != len(found):
            raise StatementError(f"{self._what}: {name} lists something twice")
        return found

    def items(self, name: str, most: int, least: int = 0) -> list[object]:
        """Return a list of `least` to `most` values of any type."""
        value = self.get(name)
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise self._wrong(name, f"a list of {least} to {most}")
        return value

    def choice(self, name: str, kind: type[_E]) -> _E:
        """Return the member of `kind` whose value the field has."""
        value = self.get(name)
        for member in kind:
            if member.value == value:
                return member
        raise self._wrong(name, "one of " + ", ".join(str(member.value) for member in kind))

    def record_id(self, name: str) -> bytes:
        """Return the 32 bytes of a record id."""
        return self._id(name, parse_record)

    def content_id(self, name: str) -> ContentId:
        """Return a content id."""
        return self._id(name, parse_content)

    def time(self, name: str) -> str:
        """Return a time, as text: it sorts as time does."""
        value = self.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a time of the form YYYY-MM-DDTHH:MM:SSZ")
        parse_time(value)
        return value

    def did_key(self, name: str) -> str:
        """Return the did:key of an Ed25519 key that is not weak."""
        return self._did_key(name, self.get(name))

    def did_keys(self, name: str, most: int) -> tuple[str, ...]:
        """Return a list of 1 to `most` did:keys, strictly ascending."""
        keys = tuple(self._did_key(name, item) for item in self.items(name, most, least=1))
        if any(a >= b for a, b in itertools.pairwise(keys)):
            raise StatementError(f"{self._what}: {name} are not in ascending order, or one occurs twice")
        return keys

    def _did_key(self, name: str, value: object) -> str:
        try:
            if isinstance(value, str) and not is_weak_key(parse_did_key(value)):
                return value
        except LinkError as error:
            raise StatementError(f"{self._what}: {name}: {error.message}") from None
        raise self._wrong(name, "a did:key of Ed25519 that is not weak")

    def _id(self, name: str, parse: Callable[[str], _T]) -> _T:
        value = self.get(name)
        try:
            if isinstance(value, str):
                return parse(value)
        except LinkError as error:
            raise StatementError(f"{self._what}: {name}: {error.message}") from None
        raise self._wrong(name, "an id")

    def _text(self, name: str, value: object) -> str:
        if not isinstance(value, str) or not is_displayable(value):
            raise self._wrong(name, f"text of 1 to {MAX_TEXT} characters that can be shown safely")
        return value

    def _wrong(self, name: str, expected: str) -> StatementError:
        return StatementError(f"{self._what}: {name}: expected {expected}")
