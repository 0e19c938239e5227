"""What the tracker's look-ups are compared with: an aiohttp handler that returns bytes it was given, and no more."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from aiohttp import web


def main() -> None:
    """Serve until SIGTERM; the only argument names a JSON file: paths and the files with their bodies."""
    import uvloop  # noqa: PLC0415 -- not on Windows; the tracker runs on it too

    uvloop.run(serve(Path(sys.argv[1])))


async def serve(order_path: Path) -> None:
    """Serve the bodies of an order, and write the port beside it."""
    order = json.loads(order_path.read_text(encoding="utf-8"))
    app = web.Application()
    for path, file in order.items():
        app.router.add_get(path, _handler(Path(file).read_bytes()))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    draft = order_path.with_name("bare.port.new")
    draft.write_text(str(runner.addresses[0][1]), encoding="utf-8")
    draft.replace(order_path.with_name("bare.port"))
    await stop.wait()
    await runner.cleanup()


def _handler(body: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- aiohttp's own type of handlers is private
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    return answer


if __name__ == "__main__":
    main()
