"""Whatever no route serves: unknown paths, and known ones with other methods.

aiohttp's own answers to these would come beside our limits, counters and form of errors.
"""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

ExpectHandler = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


async def refuse(request: web.Request) -> web.StreamResponse:
    """Say that there is no such path, or that it does not take this method.

    Raises:
        HTTPNotFound, HTTPMethodNotAllowed: always one of them.
    """
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if not isinstance(resource, _Anything):
            allowed |= (await resource.resolve(request))[1]
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    raise web.HTTPNotFound


def add_nowhere(router: web.UrlDispatcher, handler: Handler, expect_handler: ExpectHandler) -> None:
    """Let a handler answer every request that no route fits, OPTIONS of ``*`` and CONNECT among them."""
    anything = _Anything("/")
    anything.add_route(hdrs.METH_ANY, handler, expect_handler=expect_handler)
    router.register_resource(anything)


class _Anything(web.PlainResource):
    """What aiohttp asks last for every path, because it looks the parts of paths up from the longest to ``/``."""

    def _match(self, path: str) -> dict[str, str] | None:  # noqa: ARG002 -- whatever it is
        return {}
