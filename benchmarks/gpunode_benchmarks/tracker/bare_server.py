"""A bare aiohttp server: fixed answers by path, and nothing else. ``python -m … ORDER``, where ORDER is JSON.

``{"folder": where run.json goes, "answers": {path: file with the body}}``. It runs on the tracker's kind of event loop.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp import web

RUN_FILE: Final = "run.json"
_HEADERS: Final = {"Content-Type": "application/json; charset=utf-8"}


def bare_app(answers: Mapping[str, bytes]) -> web.Application:
    """Return an application that answers each path with its bytes."""
    app = web.Application()
    for path, body in answers.items():
        app.router.add_get(path, _handler(body))
    return app


def _handler(body: bytes) -> Any:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=_HEADERS)

    return answer


async def serve(folder: Path, answers: Mapping[str, bytes]) -> None:
    """Serve on a free port of loopback until cancelled, and say in ``run.json`` where."""
    runner = web.AppRunner(bare_app(answers), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    draft = folder / "draft.json"
    draft.write_text(json.dumps({"pid": os.getpid(), "url": f"http://{host}:{port}"}), encoding="utf-8")
    draft.rename(folder / RUN_FILE)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main(order: Mapping[str, Any]) -> None:
    """Run until a signal."""
    answers = {path: Path(file).read_bytes() for path, file in order["answers"].items()}
    uvloop.run(serve(Path(order["folder"]), answers))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
