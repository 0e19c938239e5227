"""Typed keys of what the application holds."""

from aiohttp import web

from gpunode_tracker.tracker import Tracker

TRACKER = web.AppKey("tracker", Tracker)
REQUEST_ID = web.RequestKey("request_id", str)
