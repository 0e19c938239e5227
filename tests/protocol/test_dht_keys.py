"""Topics of the DHT."""

import hashlib

import pytest
from gpunode_protocol.dht_keys import MAX_SHARD_BITS, DhtKey, keys_of_advert, keys_to_search, parse_key, shard_of
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import NETWORK, NODE

KEY = DhtKey(NETWORK, Task.LLM, "smollm2-135m", Region.EUROPE, 1, "0110")


def test_text() -> None:
    """A key's text names protocol, version, network, task, model, region, salt and shard."""
    assert str(KEY) == f"gpunode/1/{NETWORK}/llm/smollm2-135m/europe/1/0110"
    everyone = DhtKey(NETWORK, None, "*", Region.ASIA, 0, "-")
    assert str(everyone) == f"gpunode/1/{NETWORK}/nodes/*/asia/0/-"


@given(
    st.sampled_from([*Task, None]),
    st.sampled_from(["*", "m", "qwen2.5:7b"]),
    st.sampled_from(list(Region)),
    st.sampled_from([0, 1]),
    st.integers(0, MAX_SHARD_BITS),
)
def test_round_trip(task: Task | None, model: str, region: Region, salt: int, bits: int) -> None:
    """A key's text is read back."""
    key = DhtKey(NETWORK, task, model, region, salt, shard_of(NODE.peer_id, bits))
    assert parse_key(str(key)) == key


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gpunode/", "gpunodes/"),
        ("/1/", "/2/"),
        ("/llm/", "/chess/"),
        ("/europe/", "/atlantis/"),
        ("/europe/", "/EUROPE/"),
        ("/1/0110", "/2/0110"),
        ("/1/0110", "/01/0110"),
        ("/1/0110", "/\u0661/0110"),
        ("/1/0110", "/1/"),
        ("/1/0110", "/1/0112"),
        ("/1/0110", "/1/" + "0" * 17),
        ("/1/0110", "/1/0110/"),
        ("/1/0110", "/1"),
        ("/smollm2-135m/", "/a/b/"),
        ("gpunode", ""),
        ("/europe/", "/europe-/"),
        ("/europe/", "/europe-DE/"),
        ("/europe/", "/europe-deu/"),
        ("/europe/", "/europe-d1/"),
        ("/europe/", "/europe-éé/"),
        ("/europe/", "/europe-de-by/"),
    ],
)
def test_other_texts(old: str, new: str) -> None:
    """Everything else is no key."""
    with pytest.raises(MalformedMessage):
        parse_key(str(KEY).replace(old, new, 1))


@given(st.text())
def test_random_texts(text: str) -> None:
    """Random text is no key and raises nothing else."""
    with pytest.raises(MalformedMessage):
        parse_key(text)


def test_shard_is_a_prefix_of_the_hash() -> None:
    """A peer's shard is the first bits of the SHA-256 of its id."""
    bits = format(int.from_bytes(hashlib.sha256(NODE.peer_id.encode()).digest(), "big"), "0256b")
    for count in range(1, MAX_SHARD_BITS + 1):
        assert shard_of(NODE.peer_id, count) == bits[:count]
    assert shard_of(NODE.peer_id, 0) == "-"


def test_keys_of_an_advert() -> None:
    """An advert is stored for its model, its task and its region, under both salts."""
    keys = keys_of_advert(NETWORK, Task.LLM, "m", Region.EUROPE, NODE.peer_id, (0,))
    assert {(key.task, key.model, key.salt) for key in keys} == {
        (task, model, salt) for task, model in ((Task.LLM, "m"), (Task.LLM, "*"), (None, "*")) for salt in (0, 1)
    }
    assert len(keys) == 6


def test_keys_during_a_change_of_shards() -> None:
    """While the bit count changes, both are written, each key once."""
    keys = keys_of_advert(NETWORK, Task.LLM, "m", Region.EUROPE, NODE.peer_id, (1, 2, 1))
    assert len(keys) == len(set(keys)) == 12
    assert {len(key.shard) for key in keys} == {1, 2}


@pytest.mark.parametrize("bits", [0, 1, 3])
def test_search_finds_every_advert(bits: int) -> None:
    """The keys of a search hold every key that an advert is stored under for it."""
    searched = set(keys_to_search(NETWORK, Task.LLM, "m", Region.EUROPE, bits))
    assert len(searched) == 2 * 2**bits
    stored = set(keys_of_advert(NETWORK, Task.LLM, "m", Region.EUROPE, NODE.peer_id, (bits,)))
    assert len(searched & stored) == 2


def test_country_of_a_large_region() -> None:
    """Where a region is split, its part of the key names the country."""
    keys = keys_of_advert(NETWORK, Task.LLM, "m", Region.EUROPE, NODE.peer_id, (2,), "de")
    assert {str(key).split("/")[5] for key in keys} == {"europe-de"}
    assert [parse_key(str(key)) for key in keys] == keys
    searched = set(keys_to_search(NETWORK, Task.LLM, "m", Region.EUROPE, 2, "de"))
    assert len(searched & set(keys)) == 2
