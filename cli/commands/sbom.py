"""sbom: a release as a bill of materials that other tools read."""

from __future__ import annotations

import sys

import click

from samara.cli.doors import ask
from samara.cli.files import write_new
from samara.cli.output import emit_json, json_option, say

__all__ = ["sbom_command"]


@click.command("sbom")
@click.argument("ref")
@click.option("--format", "kind", type=click.Choice(["cyclonedx", "spdx"]), default="cyclonedx", show_default=True)
@click.option("--to", metavar="FILE", default="", help="Write it into a file.")
@json_option
def sbom_command(ref: str, kind: str, to: str, as_json: bool) -> None:
    """Describe a release for other tools: what it is, its files and hashes, licence, lineage and who signed it.

    As CycloneDX 1.6 (ML-BOM) or SPDX 3.0.1 (AI profile), both in JSON. The same release gives the same document. With
    --json the document is a text in a JSON object.

    \b
    samara sbom me/tiny-llama --to bom.json
    samara sbom me/tiny-llama --format spdx
    """  # noqa: D301 - click wants the character, not the two
    from samara.node.operations.sbom import SBOM, SbomRequest

    made = ask(SBOM, SbomRequest(ref, kind))
    if to:
        write_new(to, made.document)
    if as_json:
        emit_json(made)
    elif to:
        say(f"{to}: {made.format} of {made.release}")
    else:
        sys.stdout.write(made.document)
    if not made.files:
        print("Its files are not named: only its records are here.", file=sys.stderr)
