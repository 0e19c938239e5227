"""Typed keys of what the application and its requests hold."""

import asyncio

from aiohttp import web

from gpunode_tracker.lookup_cache import LookupCache
from gpunode_tracker.openapi.static_files import StaticFile
from gpunode_tracker.request_guard import Call, RequestGuard
from gpunode_tracker.storage.api_keys import KeyHolder
from gpunode_tracker.storage.nodes import StoredNode
from gpunode_tracker.tracker import Tracker

NO_ROUTE = "other"
TRACKER = web.AppKey("tracker", Tracker)
STOPPING = web.AppKey("stopping", asyncio.Event)
"""Set when the tracker stops: whoever waits in a request ends it."""
GUARD = web.AppKey("guard", RequestGuard)
OPENAPI = web.AppKey("openapi", StaticFile)
KEY_HOLDERS = web.AppKey("key_holders", LookupCache[KeyHolder])
"""By API key; ``forget`` takes the key's id."""
NODES_BY_TOKEN = web.AppKey("nodes_by_token", LookupCache[StoredNode])
"""By worker token; ``forget`` takes the node's peer id."""
CALL = web.RequestKey("call", Call)
"""What is known of a request; ``front`` makes it."""
