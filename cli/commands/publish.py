"""publish: hash, sign and record, where it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, human_bytes, json_option, say, show_events
from samara.cli.targets import absolute, insist_option
from samara.node.operations.publish import PUBLISH, PublishedRow, PublishRequest

__all__ = ["print_published", "publish_command", "publish_options", "request_of"]


def publish_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that publish and seed share."""
    options = [
        click.option("--name", metavar="NAME[@V]", default="", help="Name of the release; default: the path's name."),
        click.option("--version", "version", default="", help="Its version; default: 1, 2, …"),
        click.option(
            "--kind", type=click.Choice(["model", "dataset", "adapter", "collection"]), help="Default: by the files."
        ),
        click.option(
            "--license", "license_", metavar="SPDX", default="", help="Its licence; default: read from the files."
        ),
        click.option("--yes", is_flag=True, help="Yes, I may pass this on, whatever its licence says or does not say."),
        click.option(
            "--visibility",
            type=click.Choice(["public", "unlisted", "private"]),
            default="public",
            help="public: announced. unlisted: to who has the link. private: to --allow only.",
        ),
        click.option("--allow", metavar="PEER", multiple=True, help="A peer id that may have a private release."),
        click.option("--base", metavar="REF", multiple=True, help="What it was made from."),
        click.option("--tell-its-id", is_flag=True, help="Also of a base that is less public than this."),
        click.option(
            "--as", "publisher", metavar="PUBLISHER", default="", help="Release for PUBLISHER, who delegated the name."
        ),
        insist_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def request_of(path: str, options: dict[str, Any]) -> PublishRequest:
    """Return the request for a path with the options of `publish_options`."""
    name, _, version = options["name"].partition("@")
    return PublishRequest(
        absolute(path),
        name=name,
        version=options["version"] or version,
        kind=options["kind"] or "",
        license=options["license_"],
        yes=options["yes"],
        visibility=options["visibility"],
        allow=tuple(options["allow"]),
        bases=tuple(options["base"]),
        insist=tuple(options["insist"]),
        tell_its_id=options["tell_its_id"],
        publisher=options["publisher"],
    )


def print_published(row: PublishedRow) -> None:
    """Print what was published, for people."""
    say(f"{row.name} {row.version}, {row.files} file{'s' * (row.files != 1)}, {human_bytes(row.bytes)}, {row.license}")
    say(f"  {'signed now' if row.new else 'signed before: nothing changed'}")
    say(f"  link     {row.link}")
    say(f"  release  {row.release}")


@click.command("publish")
@click.argument("path")
@publish_options
@json_option
def publish_command(path: str, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as click hands them over
    """Hash and sign the file or folder at PATH, where it lies.

    Nothing is copied. The same bytes published again are the same release.

    With --as it is a release of PUBLISHER (a petname or an id), who delegated its name to this home's key: see samara
    key delegations PUBLISHER.

    \b
    samara publish ./my-model --license Apache-2.0
    samara publish model.gguf --name tiny-chat@2
    samara publish ./tonight --name night-42 --as alice
    """  # noqa: D301 - click wants the character, not the two
    with show_events(quiet=as_json) as report:
        row = call(PUBLISH, request_of(path, options), report)
    if as_json:
        emit_json(row)
    else:
        print_published(row)
