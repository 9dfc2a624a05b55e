"""Licences: what people, model cards, GGUF and LICENSE files say, as SPDX; and whether it lets others pass it on.

The judgement only decides whether the publisher must be asked; the publisher's answer is signed into the release
(specs/records.md §9). It is a small table of what models and datasets carry, not legal advice: what is not in it is
unclear.

Never raises: whatever it cannot read is None, `NOASSERTION` or unclear. All input is bounded.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Final

from samara.protocol.limits import MAX_CARD, MAX_TEXT
from samara.protocol.records.release import NO_LICENSE

__all__ = ["Redistribution", "judge", "license_of_card", "license_of_text", "normalise"]


class Redistribution(enum.Enum):
    """Whether a licence lets others pass unchanged files on. From good to bad."""

    ALLOWED = "allowed"
    UNCLEAR = "unclear"
    FORBIDDEN = "forbidden"


_ALLOWED: Final = """
    0BSD AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-2.0 BlueOak-1.0.0 BSD-1-Clause
    BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 C-UDA-1.0 CC-BY-1.0 CC-BY-2.0 CC-BY-2.5
    CC-BY-3.0 CC-BY-4.0 CC-BY-ND-3.0 CC-BY-ND-4.0 CC-BY-SA-2.0 CC-BY-SA-2.5 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-PDDC
    CC0-1.0 CDDL-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 ECL-2.0 EPL-1.0 EPL-2.0
    etalab-2.0 EUPL-1.1 EUPL-1.2 GFDL-1.2-only GFDL-1.3-only GFDL-1.3-or-later GPL-2.0-only GPL-2.0-or-later
    GPL-3.0-only GPL-3.0-or-later ISC LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later
    LPPL-1.3c MIT MIT-0 MPL-2.0 MS-PL MulanPSL-2.0 NCSA ODbL-1.0 ODC-By-1.0 OFL-1.1 OGL-UK-3.0 OSL-3.0
    PDDL-1.0 PostgreSQL PSF-2.0 Unlicense UPL-1.0 WTFPL Zlib LicenseRef-OpenRAIL
    LicenseRef-BigScience-OpenRAIL-M LicenseRef-BigCode-OpenRAIL-M LicenseRef-CreativeML-OpenRAIL-M
    LicenseRef-CreativeML-OpenRAIL-plus-plus-M LicenseRef-BigScience-BLOOM-RAIL-1.0 LicenseRef-OpenMDW-1.0
    LicenseRef-Llama-2-Community LicenseRef-Llama-3-Community LicenseRef-Llama-3.1-Community
    LicenseRef-Llama-3.3-Community LicenseRef-Gemma
""".split()  # noqa: SIM905 - a table for eyes
"""Grants anyone the right to pass unchanged copies on, under conditions that copies in full meet: the licence's own
text, notices and terms of use travel with the files (RAIL, Llama, Gemma). ND forbids changes, not copies."""

# NC: a node cannot know whether its purpose is commercial, so its owner decides. Llama 3.2 and 4 grant nothing to
# people in the EU for multimodal models. The others grant research use, or name no right to pass copies on.
_UNCLEAR: Final = """
    CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0
    CC-BY-NC-SA-4.0 BUSL-1.1 LicenseRef-Llama-3.2-Community LicenseRef-Llama-4-Community LicenseRef-Apple-AMLR
    LicenseRef-Apple-ASCL LicenseRef-DeepFloyd-IF LicenseRef-FAIR-Noncommercial-Research
    LicenseRef-Grok-2-Community LicenseRef-H-Research LicenseRef-Intel-Research LicenseRef-LGPL-LR
""".split()  # noqa: SIM905 - a table for eyes

_FORBIDDEN: Final = ["LicenseRef-Proprietary"]

_TABLE: Final[Mapping[str, Redistribution]] = {
    **dict.fromkeys(_ALLOWED, Redistribution.ALLOWED),
    **dict.fromkeys(_UNCLEAR, Redistribution.UNCLEAR),
    **dict.fromkeys(_FORBIDDEN, Redistribution.FORBIDDEN),
}

# SPDX ids are compared without case. Deprecated GNU ids mean "only" (SPDX); a text that does not say "or later" is not.
_KNOWN: Final[Mapping[str, str]] = {name.lower(): name for name in _TABLE}

_ALIASES: Final[Mapping[str, str]] = {
    "agpl-3.0": "AGPL-3.0-only",
    "agpl-3.0+": "AGPL-3.0-or-later",
    "all rights reserved": "LicenseRef-Proprietary",
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache2.0": "Apache-2.0",
    "apple-amlr": "LicenseRef-Apple-AMLR",
    "apple-ascl": "LicenseRef-Apple-ASCL",
    "bigcode-openrail-m": "LicenseRef-BigCode-OpenRAIL-M",
    "bigscience-bloom-rail-1.0": "LicenseRef-BigScience-BLOOM-RAIL-1.0",
    "bigscience-openrail-m": "LicenseRef-BigScience-OpenRAIL-M",
    "c-uda": "C-UDA-1.0",
    "cc0": "CC0-1.0",
    "creativeml-openrail-m": "LicenseRef-CreativeML-OpenRAIL-M",
    "deepfloyd-if-license": "LicenseRef-DeepFloyd-IF",
    "fair-noncommercial-research-license": "LicenseRef-FAIR-Noncommercial-Research",
    "gemma": "LicenseRef-Gemma",
    "gfdl": "GFDL-1.3-only",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-2.0+": "GPL-2.0-or-later",
    "gpl-3.0": "GPL-3.0-only",
    "gpl-3.0+": "GPL-3.0-or-later",
    "grok2-community": "LicenseRef-Grok-2-Community",
    "h-research": "LicenseRef-H-Research",
    "intel-research": "LicenseRef-Intel-Research",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-2.1+": "LGPL-2.1-or-later",
    "lgpl-3.0": "LGPL-3.0-only",
    "lgpl-3.0+": "LGPL-3.0-or-later",
    "lgpl-lr": "LicenseRef-LGPL-LR",
    "llama2": "LicenseRef-Llama-2-Community",
    "llama3": "LicenseRef-Llama-3-Community",
    "llama3.1": "LicenseRef-Llama-3.1-Community",
    "llama3.2": "LicenseRef-Llama-3.2-Community",
    "llama3.3": "LicenseRef-Llama-3.3-Community",
    "llama4": "LicenseRef-Llama-4-Community",
    "mit license": "MIT",
    "the mit license": "MIT",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "openmdw-1.0": "LicenseRef-OpenMDW-1.0",
    "openrail": "LicenseRef-OpenRAIL",
    "openrail++": "LicenseRef-CreativeML-OpenRAIL-plus-plus-M",
    "pddl": "PDDL-1.0",
    "proprietary": "LicenseRef-Proprietary",
    "unlicensed": "LicenseRef-Proprietary",
}
"""What Hugging Face calls a licence (its list of `license:` values), and full names that GGUF files carry."""

_SAYS_NOTHING: Final = frozenset(
    {"", "other", "unknown", "none", "n/a", "noassertion", "custom", "see license", "license"}
)

_WORD: Final = re.compile(r"[()]|[^\s()]+")
_NAME: Final = re.compile(r"[A-Za-z0-9.:-]+\+?")
_OPERATORS: Final = frozenset({"AND", "OR", "WITH"})
_FRONT_MATTER: Final = re.compile(r"(license|license_name)[ \t]*:[ \t]+(.+)")

# A title at the beginning, in lower case with single spaces; the first that matches, so longer names come first.
_TITLES: Final = tuple(
    (re.compile(pattern), license_id)
    for pattern, license_id in (
        (r"apache license,? version 2\.0", "Apache-2.0"),
        (r"gnu affero general public license version 3", "AGPL-3.0-only"),
        (r"gnu lesser general public license version 3", "LGPL-3.0-only"),
        (r"gnu lesser general public license version 2\.1", "LGPL-2.1-only"),
        (r"gnu general public license version 3", "GPL-3.0-only"),
        (r"gnu general public license version 2", "GPL-2.0-only"),
        (r"mozilla public license,? version 2\.0", "MPL-2.0"),
        (r"(?:creative commons )?(?:legal code )?cc0 1\.0 universal", "CC0-1.0"),
        (r"(?:creative commons )?attribution-noncommercial-sharealike 4\.0", "CC-BY-NC-SA-4.0"),
        (r"(?:creative commons )?attribution-noncommercial-noderivatives 4\.0", "CC-BY-NC-ND-4.0"),
        (r"(?:creative commons )?attribution-noncommercial 4\.0", "CC-BY-NC-4.0"),
        (r"(?:creative commons )?attribution-noderivatives 4\.0", "CC-BY-ND-4.0"),
        (r"(?:creative commons )?attribution-sharealike 4\.0", "CC-BY-SA-4.0"),
        (r"(?:creative commons )?attribution 4\.0", "CC-BY-4.0"),
        (r"this is free and unencumbered software released into the public domain", "Unlicense"),
        (r"boost software license - version 1\.0", "BSL-1.0"),
        (r"isc license", "ISC"),
        (r"bigscience openrail-?m", "LicenseRef-BigScience-OpenRAIL-M"),
        (r"bigcode openrail-?m", "LicenseRef-BigCode-OpenRAIL-M"),
        (r"(?:copyright \(c\) .{0,80} )?creativeml open rail\+\+-m", "LicenseRef-CreativeML-OpenRAIL-plus-plus-M"),
        (r"(?:copyright \(c\) .{0,80} )?creativeml open rail-m", "LicenseRef-CreativeML-OpenRAIL-M"),
        (r"llama 2 community license agreement", "LicenseRef-Llama-2-Community"),
        (r"meta llama 3 community license agreement", "LicenseRef-Llama-3-Community"),
        (r"llama 3\.1 community license agreement", "LicenseRef-Llama-3.1-Community"),
        (r"llama 3\.2 community license agreement", "LicenseRef-Llama-3.2-Community"),
        (r"llama 3\.3 community license agreement", "LicenseRef-Llama-3.3-Community"),
        (r"llama 4 community license agreement", "LicenseRef-Llama-4-Community"),
        (r"gemma terms of use", "LicenseRef-Gemma"),
    )
)
_MIT_BODY: Final = "permission is hereby granted, free of charge, to any person obtaining a copy"
_BSD_BODY: Final = "redistribution and use in source and binary forms, with or without modification, are permitted"


def judge(license_text: str | None) -> Redistribution:
    """Say whether a licence lets others pass unchanged files on.

    Args:
        license_text: An SPDX expression as `normalise` writes it, or None when nothing is known.

    Source: specs/records.md §9.
    """
    if license_text is None or len(license_text) > MAX_TEXT:
        return Redistribution.UNCLEAR
    return _judge_expression(license_text) or Redistribution.UNCLEAR


def normalise(said: str | None) -> str:
    """Write what somebody calls a licence as an SPDX expression.

    Args:
        said: From `--license`, a model card, or `general.license` of a GGUF; None when nothing was said.

    Returns:
        An SPDX expression; a `LicenseRef-…` for what SPDX has no id for; `NOASSERTION` for what says nothing.
    """
    if said is None or len(said) > MAX_TEXT or not said.isascii():
        return NO_LICENSE
    text = " ".join(said.split())
    known = _identify(text)
    if known is not None:
        return known
    return _expression(text) or _license_ref(text)


def license_of_card(card: bytes) -> str | None:
    """Return the licence that a model card's front matter states, normalised; None when it states none plainly.

    Only a scalar `license: x` between two `---` lines is read (and `license_name: y`, where x is `other`): no YAML.

    Args:
        card: README.md; only the first `MAX_CARD` bytes are looked at.
    """
    text = card[:MAX_CARD].decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = [line.rstrip() for line in text.split("\n")]
    if lines[0] != "---" or "---" not in lines[1:]:
        return None
    found: dict[str, str] = {}
    for line in lines[1 : lines.index("---", 1)]:
        match = _FRONT_MATTER.fullmatch(line)
        if match is None:
            continue
        if match[1] in found:
            return None  # which of two counts is a matter of the parser
        found[match[1]] = _scalar(match[2])
    if "license" not in found:
        return None
    said = found["license"]
    chosen = normalise(found.get("license_name", said) if said.lower() == "other" else said)
    return None if chosen == NO_LICENSE else chosen


def license_of_text(data: bytes) -> str | None:
    """Return the SPDX id of a LICENSE file by how it begins; None when it is not known.

    Args:
        data: The file; only the first `MAX_CARD` bytes are looked at.
    """
    text = " ".join(data[:MAX_CARD].decode("utf-8", errors="replace").lower().replace("#", " ").split())
    if "commons clause" in text:  # takes back, below a known title, what that licence grants
        return None
    text = re.sub(r"^(?:=+|-+|\*+) ", "", text)
    for pattern, license_id in _TITLES:
        if pattern.match(text):
            return license_id
    if _MIT_BODY in text[:1000] and "without restriction" in text[:1500]:
        return "MIT"
    if _BSD_BODY in text[:1000]:
        if "all advertising materials" in text:
            return "BSD-4-Clause"
        return "BSD-3-Clause" if "neither the name" in text else "BSD-2-Clause"
    return None


def _identify(text: str) -> str | None:
    """Return the id of one licence under any of its known names, or None."""
    low = text.lower()
    if low in _SAYS_NOTHING:
        return NO_LICENSE
    if text.startswith("LicenseRef-") and low not in _KNOWN and re.fullmatch(r"[A-Za-z0-9.-]+", text):
        return text
    # "Apache License, Version 2.0": commas carry nothing.
    return _KNOWN.get(low) or _ALIASES.get(low) or _ALIASES.get(low.replace(",", ""))


def _scalar(text: str) -> str:
    """Return a YAML scalar's text; empty for what is more than a plain or simply quoted one."""
    text = re.sub(r"\s+#.*$", "", text).strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return "" if text[:1] in tuple("[{|>&*!'\"-#%@`") else text


def _license_ref(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:64]
    return f"LicenseRef-{name}" if name else NO_LICENSE


def _expression(text: str) -> str | None:
    """Return an SPDX expression with each name in its proper form; None when `text` is not one of several words."""
    words: list[str] = []
    for word in _WORD.findall(text):
        if word in "()" or word.upper() in _OPERATORS:
            words.append(word.upper())
        elif words[-1:] == ["WITH"]:
            words.append(word)
        else:
            words.append(_identify(word) or _license_ref(word))
    expression = " ".join(words).replace("( ", "(").replace(" )", ")")
    plain = len(words) < 2 or NO_LICENSE in words or len(expression) > MAX_TEXT
    return None if plain or _judge_expression(expression) is None else expression


def _judge_expression(text: str) -> Redistribution | None:
    """Judge an SPDX expression; None when it is not one. OR takes the better side, AND the worse, AND binds closer.

    Each open parenthesis is a level on a stack: the alternatives that are done, and the conjunction at hand.
    """
    order = list(Redistribution)
    stack: list[tuple[list[int], list[int]]] = [([], [])]
    operand = True  # an operand is expected next
    for word in _operands(_WORD.findall(text)):
        done, running = stack[-1]
        if operand and word == "(":
            stack.append(([], []))
        elif operand and word not in _OPERATORS and word != ")" and not word.endswith(" WITH"):
            running.append(order.index(_judge_one(word)))
            operand = False
        elif not operand and word == ")" and len(stack) > 1:
            stack.pop()
            stack[-1][1].append(min([*done, max(running)]))
        elif not operand and word == "OR":
            done.append(max(running))
            running.clear()
            operand = True
        elif not operand and word == "AND":
            operand = True
        else:
            return None
    if operand or len(stack) > 1:
        return None
    done, running = stack[0]
    return order[min([*done, max(running)])]


def _operands(words: list[str]) -> list[str]:
    """Join `name WITH exception` into one operand; a WITH that joins no two names stays, and is refused later."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].endswith(" WITH") and _NAME.fullmatch(word):
            joined[-1] += f" {word}"
        elif word == "WITH" and joined and _NAME.fullmatch(joined[-1]) and joined[-1] not in _OPERATORS:
            joined[-1] += " WITH"
        else:
            joined.append(word)
    return joined


def _judge_one(operand: str) -> Redistribution:
    """Judge one licence. An exception of SPDX only adds permissions; what else is behind WITH may take some back."""
    name, _, exception = operand.partition(" WITH ")
    if not _NAME.fullmatch(name) or (exception and "-exception" not in exception):
        return Redistribution.UNCLEAR
    low = name.lower()
    known = _KNOWN.get(low) or _ALIASES.get(low) or _KNOWN.get(low.removesuffix("+"))
    return _TABLE[known] if known else Redistribution.UNCLEAR
