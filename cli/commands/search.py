"""search: what is known here, held or not, and who tells of it."""

from __future__ import annotations

import click

from samara.cli.doors import ask
from samara.cli.output import emit_json, human_bytes, json_option, quoted, say, short
from samara.node.operations.catalogues import KNOWN
from samara.node.operations.searching import SEARCH, FoundRow, KnownFrom, SearchFound, SearchRequest

__all__ = ["search_command"]


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="Show so many; 0: all.")
@json_option
def search_command(words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Search all that is known here, asking nobody: what is held, and what publishers and collections tell of.

    Every word must occur: in name, version, kind, licence or publisher of a release, or in what a collection that you
    follow says of it. What is not held comes with the link by which it is fetched.

    \b
    samara search llama q4
    samara search bob            # what bob publishes, and what he lists
    """  # noqa: D301 - click wants the character, not the two
    found = ask(SEARCH, SearchRequest(words, limit))
    emit_json(found) if as_json else _print(found)


def _print(found: SearchFound) -> None:
    if not found.releases:
        say("Nothing known here has all these words. To know of more: samara follow WHOSE")
    for row in found.releases:
        say(f"{row.name} {row.version}".rstrip() + f" of {_whose(row)}: {_standing(row)}")
        say(f"  {row.release}" if row.state != KNOWN else f"  samara fetch '{row.ref}'")
        for source in row.known_from:
            _print_source(row, source)
    left = found.found - len(found.releases)
    if left > 0:
        say(f"{left} more: --limit 0 shows all, more words find fewer.")


def _whose(row: FoundRow) -> str:
    publisher = short(row.publisher)
    return f"{publisher}, as {short(row.known_from[0].who)} says" if row.claimed else publisher


def _standing(row: FoundRow) -> str:
    taken_back = f", REVOKED ({row.revoked})" if row.revoked else ""
    if row.state == KNOWN:
        return f"not here{taken_back}"
    state = f"{100 * row.held // max(row.bytes, 1)} %" if row.state == "partial" else row.state
    return f"{state}{', pinned' * row.pinned}, {human_bytes(row.bytes)}, {row.license}{taken_back}"


def _print_source(row: FoundRow, source: KnownFrom) -> None:
    if source.how == "collection":
        say(f"  in {short(source.who)}/{source.collection}{_called(row, source)}")
        if source.note:
            say(quoted(source.note))
    elif source.how == "head" and row.state == KNOWN:
        say(f"  the newest of {short(source.who)}/{source.name}")


def _called(row: FoundRow, source: KnownFrom) -> str:
    """What a collector calls it, where that is something else; where it is here, that is known to be wrong."""
    if (source.name, source.version, source.publisher_id) == (row.name, row.version, row.publisher_id):
        return ""
    wrong = ", which is WRONG" if source.wrong else ""
    return f", as {source.name} {source.version} of {short(source.publisher)}{wrong}"
