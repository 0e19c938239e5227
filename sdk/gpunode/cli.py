"""The command ``gpunode``: subcommands from the components, one line for each failure, logging to standard error.

Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from typing import Annotated, Any, Final

import typer

from gpunode.failure_text import describe
from gpunode.log_setup import LogFormat, LogLevel, configure_logging
from gpunode.terminal_text import printable

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
#: 128 + SIGINT, as shells report it.
EXIT_INTERRUPTED: Final = 130

#: Each component registers its subcommands here: ``register(app: typer.Typer) -> None``.
COMMANDS_GROUP: Final = "gpunode.commands"

#: Subcommands that run for long, whose log is their output; the others log warnings only.
_DAEMONS: Final = frozenset({"start", "tracker"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process) and return its exit code; failures print one line."""
    debug, arguments = _take_debug(sys.argv[1:] if argv is None else argv)
    try:
        command = typer.main.get_command(build_app())
        result: Any = command.main(args=arguments, prog_name="gpunode", standalone_mode=False)
    except typer.TyperException as error:
        return _report_misuse(error)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return EXIT_FAILURE
    except Exception as error:  # noqa: BLE001 -- the boundary of the process: every failure becomes one line
        if debug:
            traceback.print_exception(error)
        _print_line(describe(error))
        return EXIT_FAILURE
    return result if isinstance(result, int) else EXIT_OK


def build_app() -> typer.Typer:
    """Return the root command with every component's subcommands."""
    app = typer.Typer(
        name="gpunode",
        help="One inference service from idle GPUs: run a node, use the network, run a tracker.",
        no_args_is_help=True,
    )
    app.callback()(_root)
    for entry in sorted(entry_points(group=COMMANDS_GROUP), key=lambda entry: entry.name):
        try:
            register = entry.load()
        except ModuleNotFoundError as error:
            if error.name != entry.module:
                raise
            continue
        register(app)
    return app


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"gpunode {version('gpunode')}")
        raise typer.Exit


def _root(
    context: typer.Context,
    *,
    debug: Annotated[  # noqa: ARG001 -- main() takes it out at any position; it stands here for --help
        bool, typer.Option("--debug", help="Print the traceback when a command fails.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="The same as --log json.")] = False,
    log: Annotated[LogFormat, typer.Option(envvar="GPUNODE_LOG", help="How to write the log.")] = LogFormat.HUMAN,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(envvar="GPUNODE_LOG_LEVEL", help="Least severity; by default info for daemons, else warning."),
    ] = None,
    show_version: Annotated[  # noqa: ARG001 -- its eager callback prints the version and ends
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    default_level = LogLevel.INFO if context.invoked_subcommand in _DAEMONS else LogLevel.WARNING
    configure_logging(LogFormat.JSON if log_json else log, log_level or default_level)


def _take_debug(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Take ``--debug`` out of the command line at any position before ``--``: users add it at the end."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return len(options) < end, [*options, *arguments[end:]]


def _report_misuse(error: typer.TyperException) -> int:
    """Print why the command line was refused; a bare group of commands has printed its help already."""
    message = " ".join(error.format_message().split())
    if message:
        context: typer.Context | None = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "gpunode"
        _print_line(f"{message.removesuffix('.')}. Try '{path} --help'.")
    return error.exit_code


def _print_line(text: str) -> None:
    sys.stderr.write(f"gpunode: {printable(text)}\n")  # a tracker's words may be in it


def _discard_output() -> None:
    """Let the interpreter flush into nothing at exit: the reader of our output has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
