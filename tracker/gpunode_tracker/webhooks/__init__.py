"""Webhooks: whoever submitted a job is told of its end by a signed POST to an address of its own.

Addresses are strangers' words: only public ones are connected to, see ``public_addresses``.
"""

from gpunode_tracker.webhooks.subscription import add, due, secret_of
from gpunode_tracker.webhooks.url import WebhookUrl, check_url

__all__ = ["WebhookUrl", "add", "check_url", "due", "secret_of"]
