"""Edits `trust.toml` rule by rule, and leaves the rest of it as it is: comments, order, spacing.

As with `config.toml`, the file is edited as text and then read again: if it does not say what it should say, it is left
alone, and the person is told what to write.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from samara.node.config import blocks_of, replace_file
from samara.protocol.errors import NotFoundError, StoreError, UsageError
from samara.protocol.trust import Policy, Rule

__all__ = ["add_rule", "remove_rule", "text_of"]

_RULE: Final = re.compile(r"\s*\[\[\s*rule\s*\]\]\s*(#.*)?")


def add_rule(path: Path, rule: Rule, *, last: bool) -> None:
    """Add a rule: before all others, since the first that matches decides, or after them.

    Raises:
        UsageError: It is no rule, or the file cannot be edited.
        StoreError: The file cannot be written.
    """
    text, before = _read(path)
    new = text_of(rule)
    edited = f"{text.rstrip()}\n\n{new}" if last and text.strip() else f"{new}\n{text}" if text.strip() else new
    wanted = (*before.rules, rule) if last else (rule, *before.rules)
    _replace(path, edited, wanted, new)


def remove_rule(path: Path, number: int) -> Rule:
    """Take out a rule, by its number; return it.

    Raises:
        NotFoundError: There is none of that number.
        UsageError: The file cannot be edited.
        StoreError: The file cannot be written.
    """
    text, before = _read(path)
    if not 1 <= number <= len(before.rules):
        raise NotFoundError(f"there is no rule {number}", hint="See samara trust show.")
    blocks = blocks_of(text.splitlines())
    rules = [at for at, block in enumerate(blocks) if block and _RULE.fullmatch(block[0])]
    if number <= len(rules):
        del blocks[rules[number - 1]]
    edited = "\n".join(line for block in blocks for line in block).rstrip() + "\n"
    wanted = (*before.rules[: number - 1], *before.rules[number:])
    _replace(path, edited, wanted, f"(rule {number} taken out)")
    return before.rules[number - 1]


def text_of(rule: Rule) -> str:
    """Return a rule as it is written."""
    lines = ["[[rule]]"]
    if rule.publisher != "*":
        lines.append(f"publisher = {json.dumps(rule.publisher)}")
    if rule.name != "*":
        lines.append(f"name = {json.dumps(rule.name)}")
    lines.append(f"mode = {json.dumps(rule.mode.value)}")
    if rule.tofu:
        lines.append("tofu = true")
    if rule.keys:
        lines += [f"keys = {json.dumps(list(rule.keys))}", f"threshold = {rule.threshold}"]
    if rule.max_age_days is not None:
        lines.append(f"max-age-days = {rule.max_age_days}")
    if rule.witnesses:
        lines += [f"witnesses = {json.dumps(list(rule.witnesses))}", f"witness-threshold = {rule.witness_threshold}"]
    return "\n".join(lines) + "\n"


def _read(path: Path) -> tuple[str, Policy]:
    try:
        text = path.read_text("utf-8") if path.exists() else ""
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    return text, Policy.parse(text)


def _replace(path: Path, edited: str, wanted: tuple[Rule, ...], new: str) -> None:
    if Policy.parse(edited).rules != wanted:
        raise UsageError(f"{path} is written in a way that cannot be edited", hint=f"Change it by hand:\n{new}")
    try:
        replace_file(path, edited)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error}") from error
