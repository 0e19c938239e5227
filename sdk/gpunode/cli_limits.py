"""Options of the commands that choose a node: which nodes may be chosen. Imports nothing heavy."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Final, TypedDict

import typer

from gpunode.cli_region import known_region

WithinOption = Annotated[str | None, typer.Option("--in", callback=known_region, help="Only nodes in this region.")]


class LimitSettings(TypedDict, total=False):
    """Those settings of a client that say which nodes may do a job; see ``gpunode.routing.Limits``."""

    allow_nodes: list[str] | None
    deny_nodes: list[str] | None
    own_nodes: bool | None
    max_price_credits: float | None
    min_sandbox: int | None
    fingerprint: str | None
    widen: bool | None
    exclude_doubtful_places: bool | None


def _limit_settings(
    *,
    allow_node: Annotated[list[str] | None, typer.Option(help="Only this node (whole id); may be repeated.")] = None,
    deny_node: Annotated[list[str] | None, typer.Option(help="Never this node; may be repeated.")] = None,
    own_nodes: Annotated[bool, typer.Option("--own-nodes", help="Only nodes linked to your account.")] = False,
    max_price: Annotated[float | None, typer.Option(min=0, help="Credits that the job may cost at most.")] = None,
    min_sandbox: Annotated[
        int | None, typer.Option(min=0, max=3, help="Isolation of the engine that a node must state.")
    ] = None,
    fingerprint: Annotated[str | None, typer.Option(help="Of weights and settings, 64 hex digits.")] = None,
    no_widen: Annotated[bool, typer.Option("--no-widen", help="Stay in your own --region.")] = False,
    exclude_doubtful_places: Annotated[
        bool,
        typer.Option("--exclude-doubtful-places", help="No nodes that cannot be where they say, by measurement."),
    ] = False,
) -> LimitSettings:
    """Return the settings; what is not given comes from the environment or the TOML file."""
    return {
        "allow_nodes": allow_node,
        "deny_nodes": deny_node,
        "own_nodes": own_nodes or None,
        "max_price_credits": max_price,
        "min_sandbox": min_sandbox,
        "fingerprint": fingerprint,
        "widen": False if no_widen else None,
        "exclude_doubtful_places": exclude_doubtful_places or None,
    }


def _check(settings: LimitSettings) -> None:
    """Raise BadParameter for what no node could fulfil."""
    from gpunode.errors import InvalidRequest  # noqa: PLC0415 -- --help stays light
    from gpunode.routing import Limits  # noqa: PLC0415 -- as above

    try:
        Limits(**{name: value for name, value in settings.items() if value is not None})  # type: ignore[arg-type]  # -- by the same names
    except InvalidRequest as error:
        raise typer.BadParameter(str(error)) from error


_OPTIONS: Final = signature(_limit_settings).parameters
_LIMITS: Final = "limits"


def takes_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; its parameter ``limits`` gets the settings.

    typer reads the options from the function's signature, so that this one says what the command line has.
    """
    own = signature(command)

    @wraps(command)
    def run(**given: object) -> None:
        settings = _limit_settings(**{name: given.pop(name) for name in _OPTIONS})  # type: ignore[arg-type]  # -- typer checked them
        _check(settings)
        command(**given, limits=settings)

    kept = [parameter for name, parameter in own.parameters.items() if name != _LIMITS]
    added = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in _OPTIONS.values()]
    parameters = [*kept, *added]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # -- read by inspect
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    del run.__wrapped__  # set by wraps; it would lead to the other signature
    return run
