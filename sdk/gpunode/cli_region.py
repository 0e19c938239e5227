"""Regions that a command line names. Imports nothing heavy: every command line builds its options."""

import typer


def known_region(text: str | None) -> str | None:
    """Return what an option says; None stands for no region. Raises BadParameter, which lists what there is."""
    from gpunode._arguments import to_region  # noqa: PLC0415 -- --help stays light
    from gpunode.errors import InvalidRequest  # noqa: PLC0415 -- as above

    try:
        to_region(text)
    except InvalidRequest as error:
        raise typer.BadParameter(str(error)) from error
    return text
