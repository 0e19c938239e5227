"""The command's logging."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from gpunode.log_setup import LogFormat, LogLevel, configure_logging


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Give the root logger its handlers and level back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    libraries = {logging.getLogger(name): logging.getLogger(name).level for name in ("httpx", "httpx2")}
    yield
    for logger, library_level in libraries.items():
        logger.setLevel(library_level)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def _logged(log_format: LogFormat, level: LogLevel) -> str:
    stream = io.StringIO()
    configure_logging(log_format, level, stream)
    logger = logging.getLogger("gpunode_node.daemon")
    logger.debug("details")
    logger.info("Serving %d models", 2, extra={"event": "node_started", "node_id": "12D3"})
    return stream.getvalue()


def test_json_lines_keep_sentence_and_event_apart() -> None:
    """A record is one object with message, event, level, logger, UTC timestamp and the extra fields."""
    record = json.loads(_logged(LogFormat.JSON, LogLevel.INFO))
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "message": "Serving 2 models",
        "event": "node_started",
        "node_id": "12D3",
        "level": "info",
        "logger": "gpunode_node.daemon",
    }


@pytest.mark.parametrize(("level", "least"), [(LogLevel.DEBUG, "WARNING"), (LogLevel.ERROR, "ERROR")])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_requests_of_libraries_are_not_logged(library: str, level: LogLevel, least: str) -> None:
    """Only warnings of theirs are of interest, or less if the level asks for less."""
    configure_logging(LogFormat.JSON, level, io.StringIO())
    assert logging.getLevelName(logging.getLogger(library).getEffectiveLevel()) == least


def test_json_lines_hold_the_traceback() -> None:
    """A logged exception stays in its line."""
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, LogLevel.INFO, stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("Failed")
    assert "ValueError: broken" in json.loads(stream.getvalue())["exception"]


def test_people_read_a_plain_sentence_where_there_is_no_terminal() -> None:
    """The human format has the sentence and the fields, without colour codes in a file."""
    text = _logged(LogFormat.HUMAN, LogLevel.INFO)
    assert "Serving 2 models" in text
    assert "node_id=12D3" in text
    assert "\x1b" not in text


def test_a_quoted_stranger_cannot_forge_lines() -> None:
    """Control characters of a sentence are blanks: it stays on its line, and no terminal obeys it."""
    stream = io.StringIO()
    configure_logging(LogFormat.HUMAN, LogLevel.INFO, stream)
    logging.getLogger("gpunode_node").info("refused: \x1b[31mred\r\n2026-01-01 all \u202eis well")
    assert "refused:  [31mred  2026-01-01 all  is well" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_records_below_the_level_are_dropped() -> None:
    """A debug record appears only at the debug level."""
    assert "details" not in _logged(LogFormat.HUMAN, LogLevel.INFO)
    assert "details" in _logged(LogFormat.HUMAN, LogLevel.DEBUG)


@pytest.mark.parametrize("log_format", LogFormat)
def test_secrets_are_cut_out(log_format: LogFormat) -> None:
    """Of sentences, of fields and of tracebacks: a library quotes what it could not use."""
    key = "gpn_0123456789-0123456789"
    stream = io.StringIO()
    configure_logging(log_format, LogLevel.DEBUG, stream)
    try:
        raise ValueError(f"no number: {key}")
    except ValueError:
        logging.getLogger("x").exception("failed with %s", key, extra={"url": "postgresql://me:pass@db/x", "key": key})
    assert "ValueError: no number: gpn_" in stream.getvalue()
    assert "0123456789" not in stream.getvalue()
    assert "me:pass" not in stream.getvalue()
