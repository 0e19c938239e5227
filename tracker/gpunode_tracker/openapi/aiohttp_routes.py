"""aiohttp's routes from the URL table."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from gpunode_tracker.openapi.route import Route


def aiohttp_routes(routes: Sequence[Route], handler_of: Callable[[Route], Handler]) -> list[web.RouteDef]:
    """Return the routes for ``web.Application.add_routes``. handler_of: what serves each of them.

    A variable of a path never stands for a name that another path has in its place: ``/jobs/sync`` is not the job
    ``sync``, whatever the method. So 405 and its ``Allow`` tell of the right path.
    """
    names = _names_by_place(routes)
    return [_definition(route, _own_path(route.path, names), handler_of(route)) for route in routes]


def _definition(route: Route, path: str, handler: Handler) -> web.RouteDef:
    if route.method == "GET":
        return web.get(path, handler, allow_head=route.is_safe, expect_handler=go_on)
    return web.route(route.method, path, handler, expect_handler=go_on)


async def go_on(request: web.Request) -> None:
    """Let a client send its body that waits to be told so. Other expectations are overlooked (RFC 9110, 10.1.1).

    aiohttp's own refusal of them comes before all handlers, so no limit would count these requests.
    """
    if request.version == HttpVersion11 and request.headers[hdrs.EXPECT].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


def _names_by_place(routes: Sequence[Route]) -> dict[tuple[str, ...], list[str]]:
    """Return the names that stand after the beginnings of paths."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for route in routes:
        parts = route.path.split("/")
        for place, part in enumerate(parts):
            if part and not part.startswith("{"):
                found[tuple(parts[:place])].add(part)
    return {before: sorted(names) for before, names in found.items()}


def _own_path(path: str, names: dict[tuple[str, ...], list[str]]) -> str:
    parts = path.split("/")
    return "/".join(_part(part, names.get(tuple(parts[:place]), [])) for place, part in enumerate(parts))


def _part(part: str, taken: list[str]) -> str:
    if not part.startswith("{") or not taken:
        return part
    return f"{{{part.strip('{}')}:(?!(?:{'|'.join(taken)})(?:/|$))[^/]+}}"
