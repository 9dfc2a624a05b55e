"""The entry point `samara`: a table of commands, each imported only when it is called.

`samara --help` must not pay for what a command needs, which takes longer to import than all else that it does. So the
one-line helps stand here.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from typing import Final

import click

from samara import __version__
from samara.cli.failures import fail
from samara.cli.importing import importing
from samara.protocol.errors import OperationError, SamaraError, UsageError

__all__ = ["cli", "main"]

_COMMANDS: Final = {
    "publish": ("publish", "Hash and sign a file or folder where it lies."),
    "seed": ("seed", "Publish, then serve to others; prints the links."),
    "node": ("seed", "Run the node: serve what is held, go on with queued fetches."),
    "fetch": ("fetch", "Fetch a release; every byte is verified."),
    "tensors": ("tensors", "List the tensors of a release, by the headers of its files."),
    "update": ("update", "Fetch the newest release of what is held, by difference."),
    "delta": ("delta", "Make what one release needs beyond another, as a release of its own."),
    "verify": ("library", "Hash again, and say who signed."),
    "log": ("log", "Show what a name stood for: its signed history."),
    "attest": ("attest", "Say something of a release, signed, here or for other tools."),
    "witness": ("witness", "Sign that you have seen what another publisher has said."),
    "revoke": ("revoke", "Take back a release, or a key."),
    "trust": ("trust", "Show or change whom this home believes."),
    "run": ("run", "Generate text with a model, on the CPU."),
    "ls": ("library", "List what is known here."),
    "show": ("library", "Show a release and its files."),
    "sbom": ("sbom", "Describe a release for others: CycloneDX or SPDX."),
    "search": ("search", "Search all that is known here, held or not."),
    "collection": ("collection", "List releases for others, signed; show what a list says."),
    "follow": ("follow", "Follow somebody's collections; say who is followed."),
    "unfollow": ("follow", "Follow somebody's collections no more."),
    "queue": ("library", "List fetches that are not done."),
    "pin": ("library", "Keep a release: gc leaves it."),
    "unpin": ("library", "Let gc take a release."),
    "rm": ("library", "Forget a release; delete its files from the home."),
    "gc": ("library", "Delete what is not pinned from the home."),
    "limits": ("limits", "Show or change what the node takes of the line, while it runs."),
    "peers": ("network", "List connected and banned peers."),
    "status": ("network", "Show how the running node is."),
    "doctor": ("network", "Look for what is wrong, and say what to do."),
    "export": ("stick", "Write releases to a folder, as on a USB stick."),
    "import": ("stick", "Take releases from a folder, verifying every byte."),
    "records": ("records", "Carry what publishers have said: as a file, or by asking."),
    "key": ("key", "This home's key: protect, back up, replace; name and compare publishers."),
    "demo": ("demo", "Do the whole main job on this machine, with a real model."),
}


class _Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        with importing():
            module = importlib.import_module(f"samara.cli.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="samara")
@click.option("--passphrase-fd", metavar="FD", type=int, help="Read the key's passphrase from this descriptor.")
def cli(passphrase_fd: int | None) -> None:
    """Samara moves AI models from machine to machine, verified, and runs them where they land.

    \b
    Share a model:    samara seed model.gguf
    Get it:           samara fetch LINK
    Use it:           samara run LINK "What is a samara?"

    State lives in $SAMARA_HOME (default: the platform's data folder).
    """  # noqa: D301 - click wants the character, not the two
    if passphrase_fd is not None:
        from samara.cli.passphrase import take_from

        take_from(passphrase_fd)


def _set_up_log() -> None:
    """Show what the node does when `SAMARA_LOG` asks for it; else only what went wrong."""
    level = os.environ.get("SAMARA_LOG", "error").upper()
    known = level if level in {"DEBUG", "INFO", "WARNING", "ERROR"} else "ERROR"
    logging.basicConfig(level="ERROR", format="%(levelname).1s %(name)s: %(message)s")
    logging.getLogger("samara").setLevel(known)


def _misused(error: click.ClickException) -> int:
    if "--json" in sys.argv:
        return fail(UsageError(error.format_message(), hint="See samara COMMAND --help."), as_json=True)
    error.show()
    return UsageError.exit_code


def main() -> None:
    """Run the command line and exit with its code (specs/cli.md, "Exit codes")."""
    _set_up_log()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter must not end a command
    try:
        cli.main(prog_name="samara", standalone_mode=False)
    except click.exceptions.Abort:
        fail_code = 130
    except click.ClickException as error:
        fail_code = _misused(error)
    except SamaraError as error:
        fail_code = fail(error, as_json="--json" in sys.argv)
    except KeyboardInterrupt:
        fail_code = 130
    except BrokenPipeError:
        fail_code = 1
    except Exception as error:
        # The last border: a bug of ours is told apart from what the person can mend.
        logging.getLogger("samara").debug("a bug", exc_info=error)
        fail_code = fail(
            OperationError(f"this is a bug in Samara: {error!r}", hint="SAMARA_LOG=debug shows where."),
            as_json="--json" in sys.argv,
        )
    else:
        return
    sys.exit(fail_code)


if __name__ == "__main__":
    main()
