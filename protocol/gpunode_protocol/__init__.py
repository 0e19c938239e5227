"""The gpunode wire protocol: identity, signed messages, framing and the state machines of a job stream.

Everything here is sans-IO (bytes in, events out; time is an argument) except the ``mesh`` subpackage.
"""

PROTOCOL_VERSION = 1
"""Version that every signed body carries as ``v``; a message with another version gets an error frame."""
