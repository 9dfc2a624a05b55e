"""Licences as they are found in the wild: cards, LICENSE files, names, expressions."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol.licenses import Redistribution, judge, license_of_card, license_of_text, normalise
from samara.protocol.limits import MAX_CARD
from samara.protocol.records.release import _LICENSE

ALLOWED, UNCLEAR, FORBIDDEN = Redistribution


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: apache-2.0\n---\n# Model", "Apache-2.0"),
        ("---\r\nlicense: mit\r\n---\r\n", "MIT"),
        ("\ufeff---\nlanguage:\n- en\nlicense: llama3.1\ntags: [x]\n---\n", "LicenseRef-Llama-3.1-Community"),
        ('---\nlicense: "gemma"\n---', "LicenseRef-Gemma"),
        ("---\nlicense: 'cc-by-4.0'   # see below\n---", "CC-BY-4.0"),
        ("---\nlicense: other\nlicense_name: qwen-research\n---", "LicenseRef-qwen-research"),
        ("---\nlicense_name: deepseek\nlicense: Other\n---", "LicenseRef-deepseek"),
        ("---\nlicense: mit\nlicense_name: ignored\n---", "MIT"),
        ("---\nlicense: other\n---", None),
        ("---\nlicense: unknown\n---", None),
        ("---\nlicense:\n- mit\n- apache-2.0\n---", None),
        ("---\nlicense: [mit]\n---", None),
        ("---\nlicense: |\n  mit\n---", None),
        ("---\nlicense: mit\nlicense: gpl-3.0\n---", None),
        ("---\n  license: mit\n---", None),
        ("---\nlicense: mit\n", None),
        ("---\n---\nlicense: mit\n", None),
        ("license: mit\n", None),
        ("\n---\nlicense: mit\n---\n", None),
        ("# Model\n---\nlicense: mit\n---\n", None),
        ("", None),
    ],
)
def test_the_licence_of_a_model_card(card: str, expected: str | None) -> None:
    assert license_of_card(card.encode()) == expected


def test_a_card_is_read_only_so_far() -> None:
    filler = b"x: " + b"y" * 60 + b"\n"
    card = b"---\n" + filler * (MAX_CARD // len(filler) + 1) + b"license: mit\n---\n"
    assert license_of_card(card) is None


MIT = """MIT License

Copyright (c) 2026 Anna

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights"""
BSD = """Copyright (c) 2026, Anna

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "                                 Apache License\n                           Version 2.0, January 2004\n",
            "Apache-2.0",
        ),
        (MIT, "MIT"),
        (MIT.removeprefix("MIT License\n\n"), "MIT"),
        (BSD, "BSD-2-Clause"),
        (BSD + "3. Neither the name of the copyright holder", "BSD-3-Clause"),
        (BSD + "3. All advertising materials mentioning", "BSD-4-Clause"),
        (
            "                    GNU GENERAL PUBLIC LICENSE\n                       Version 3, 29 June 2007\n",
            "GPL-3.0-only",
        ),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007", "AGPL-3.0-only"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999", "LGPL-2.1-only"),
        ("Mozilla Public License Version 2.0\n==================================", "MPL-2.0"),
        ("Attribution-NonCommercial 4.0 International\n\n=====", "CC-BY-NC-4.0"),
        ("Attribution-NonCommercial-ShareAlike 4.0 International", "CC-BY-NC-SA-4.0"),
        ("# Attribution 4.0 International", "CC-BY-4.0"),
        ("Creative Commons Legal Code\n\nCC0 1.0 Universal", "CC0-1.0"),
        ("This is free and unencumbered software released into the public domain.", "Unlicense"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nLlama 3.1 Version", "LicenseRef-Llama-3.1-Community"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "LicenseRef-Llama-3-Community"),
        ("Gemma Terms of Use\n\nLast modified: February 21, 2024", "LicenseRef-Gemma"),
        (
            "Copyright (c) 2022 Robin Rombach and Patrick Esser\n\nCreativeML Open RAIL-M\ndated",
            "LicenseRef-CreativeML-OpenRAIL-M",
        ),
        ('"Commons Clause" License Condition v1.0\n' + MIT, None),
        (MIT + "\n\nCommons Clause License Condition", None),
        ("We like the Apache License Version 2.0, but this is another one.", None),
        ("All rights reserved.", None),
        ("", None),
    ],
)
def test_the_licence_of_a_file(text: str, expected: str | None) -> None:
    assert license_of_text(text.encode()) == expected


VERDICTS = {"MIT": ALLOWED, "CC-BY-NC-4.0": UNCLEAR, "LicenseRef-Proprietary": FORBIDDEN}


@pytest.mark.parametrize("names", list(itertools.product(VERDICTS, repeat=3)), ids=" ".join)
def test_or_takes_the_better_and_and_the_worse(names: tuple[str, str, str]) -> None:
    order = list(Redistribution)
    a, b, c = (order.index(VERDICTS[name]) for name in names)
    said = dict(zip("abc", names, strict=True))

    def verdict(form: str) -> int:
        return order.index(
            judge("".join(said.get(letter, letter) for letter in form).replace("&", " AND ").replace("|", " OR "))
        )

    assert verdict("a&b|c") == min(max(a, b), c)
    assert verdict("a|b&c") == min(a, max(b, c))
    assert verdict("(a|b)&c") == max(min(a, b), c)
    assert verdict("((a))&(b|(c))") == max(a, min(b, c))


@pytest.mark.parametrize(
    "text", ["", "MIT MIT", "MIT AND", "OR MIT", "(MIT", "MIT)", "()", "MIT WITH", "WITH x", "NOT MIT", "é", "M" * 300]
)
def test_what_is_no_expression_is_unclear(text: str) -> None:
    assert judge(text) is UNCLEAR


def test_nothing_said_is_unclear() -> None:
    assert judge(None) is UNCLEAR
    assert judge("NOASSERTION") is UNCLEAR


WORDS = st.lists(
    st.sampled_from(
        [
            "MIT",
            "mit",
            "or",
            "AND",
            "WITH",
            "(",
            ")",
            "Apache",
            "2.0",
            "llama",
            "é",
            "\x1b",
            "+",
            "LicenseRef-x",
            "LLVM-exception",
        ]
    ),
    max_size=12,
).map(" ".join)


@given(WORDS | st.text(max_size=40))
def test_whatever_is_said_becomes_a_licence_that_a_release_can_state(said: str) -> None:
    written = normalise(said)
    assert _LICENSE.fullmatch(written)
    assert normalise(written) == written
    assert isinstance(judge(said), Redistribution)


@given(st.binary(max_size=200))
def test_whatever_bytes_are_a_card_or_a_licence_or_neither(data: bytes) -> None:
    for found in (license_of_card(data), license_of_card(b"---\nlicense: " + data + b"\n---\n"), license_of_text(data)):
        assert found is None or _LICENSE.fullmatch(found)


@pytest.mark.parametrize(
    "data", [b"---\n" * 16000, b"license: " * 8000, b"---\nlicense:" + b" " * 65000, b"(" * 65536, b"\xff" * 65536]
)
@pytest.mark.no_cover
def test_hostile_files_take_no_time(data: bytes) -> None:
    began = time.process_time()
    license_of_card(data)
    license_of_text(data)
    normalise(data.decode("latin-1"))
    judge(data.decode("latin-1")[:256])
    assert time.process_time() - began < 1.0
