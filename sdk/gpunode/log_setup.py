"""Logging of the command ``gpunode``: to standard error, for people or as one JSON object a line.

Library code calls ``logging.getLogger(__name__)`` and passes ``extra={"event": "stable_name", …}``; only the command
configures handlers, so that an application that uses the SDK keeps its own.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from enum import StrEnum
from typing import Any, Final, TextIO

import structlog
from gpunode_protocol.secret_texts import without_secrets

from gpunode.terminal_text import is_control


class LogFormat(StrEnum):
    """How log records are written."""

    HUMAN = "human"  #: coloured at a terminal, plain text elsewhere
    JSON = "json"  #: one object a line: timestamp (UTC, ISO 8601), level, logger, message, event, other fields


class LogLevel(StrEnum):
    """Least severity that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


#: Attributes that every log record has; the others come from ``extra``.
_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


#: Libraries that log every request at the level ``info``.
_CHATTY: Final = ("httpx", "httpx2")


def configure_logging(log_format: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Replace the root logger's handlers by one that writes to ``stream`` (default: standard error)."""
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                _add_extra,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(log_format, stream),
                _cut_secrets,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)


def _renderers(log_format: LogFormat, stream: TextIO) -> list[structlog.typing.Processor]:
    if log_format is LogFormat.JSON:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    return [
        _on_one_line,
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            event_key="message",
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _on_one_line(_logger: object, _method: str, event_dict: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Make control characters blanks: a sentence that quotes a stranger must not forge a line or steer a terminal.

    Not ``printable``: that keeps line breaks, and here what they part must not become one word.
    """
    sentence = str(event_dict["message"])
    event_dict["message"] = "".join(" " if is_control(char) else char for char in sentence)
    return event_dict


def _cut_secrets(_logger: object, _method: str, line: Any) -> str:
    """Cut keys, tokens and passwords of URLs out of a line: errors of libraries quote what they could not use."""
    return without_secrets(str(line))


def _add_extra(_logger: object, _method: str, event_dict: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Keep the sentence as ``message`` and add the fields given as ``extra``, the stable ``event`` name among them."""
    event_dict["message"] = event_dict.pop("event")
    record: logging.LogRecord = event_dict["_record"]
    event_dict.update({key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES})
    return event_dict
