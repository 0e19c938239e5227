import os

import pytest
from gpunode_benchmarks.lab.messages import MAX_MESSAGE_BYTES, close_all, message_pair, receive_message, send_message


def test_a_message_brings_its_descriptors() -> None:
    """They are other descriptors of the same files."""
    ours, theirs = message_pair()
    reader, writer = os.pipe()
    with ours, theirs:
        send_message(ours, {"do": "launch"}, [writer])
        os.close(writer)
        received = receive_message(theirs)
        assert received is not None
        message, [descriptor] = received
        assert message == {"do": "launch"}
        assert not os.get_inheritable(descriptor)
        os.write(descriptor, b"x")
        assert os.read(reader, 1) == b"x"
        close_all([reader, descriptor])


def test_messages_keep_their_borders() -> None:
    """Two that were sent at once are two."""
    ours, theirs = message_pair()
    with ours, theirs:
        for number in (1, 2):
            send_message(ours, {"number": number})
        assert [receive_message(theirs), receive_message(theirs)] == [({"number": 1}, []), ({"number": 2}, [])]


def test_the_other_sides_end_is_none() -> None:
    """However it ended."""
    ours, theirs = message_pair()
    ours.close()
    with theirs:
        assert receive_message(theirs) is None


def test_a_message_that_is_too_long_is_not_sent() -> None:
    """The error says what to do."""
    ours, theirs = message_pair()
    with ours, theirs, pytest.raises(ValueError, match="put large data in a file"):
        send_message(ours, {"text": "x" * MAX_MESSAGE_BYTES})


def test_a_long_message_arrives_whole() -> None:
    """An environment has some kilobytes."""
    ours, theirs = message_pair()
    with ours, theirs:
        send_message(ours, {"text": "x" * 100_000})
        received = receive_message(theirs)
        assert received is not None
        assert len(received[0]["text"]) == 100_000


def test_closing_twice_does_no_harm() -> None:
    """A descriptor may be closed by whoever took it."""
    reader, writer = os.pipe()
    close_all([reader, writer])
    close_all([reader, writer])
