"""Typed keys of what the application and its requests hold."""

import asyncio

from aiohttp import web

from gpunode_tracker.in_flight import Visit
from gpunode_tracker.request_guard import Charge, RequestGuard
from gpunode_tracker.tracker import Tracker

TRACKER = web.AppKey("tracker", Tracker)
STOPPING = web.AppKey("stopping", asyncio.Event)
"""Set when the tracker stops: whoever waits in a request ends it."""
GUARD = web.AppKey("guard", RequestGuard)
REQUEST_ID = web.RequestKey("request_id", str)
CLIENT = web.RequestKey("client", str)
"""The address that the request comes from, behind trusted proxies."""
VISIT = web.RequestKey("visit", Visit)
CHARGES = web.RequestKey("charges", list[Charge])
