from gpunode._candidate_memory import KEPT_S, REFRESH_AFTER_S, CandidateMemory
from gpunode._network import Network
from gpunode._selection import Candidate, Wanted
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.sdk.world import EPOCH, Keys

KEYS = Keys()
QUESTION = (Wanted(Task.LLM, "llama"), Region.ASIA)
CANDIDATES = [
    Candidate(KEYS.advert(Identity.from_seed(b"\x05" * 32)), "dht"),
    Candidate(KEYS.advert(Identity.from_seed(b"\x06" * 32), expires_at=EPOCH + 20), "index"),
]


def _network() -> Network:
    return Network(KEYS.network_info(), KEYS.trust, KEYS.revocations().body)


NETWORK = _network()


def _memory() -> CandidateMemory:
    memory = CandidateMemory()
    memory.remember(QUESTION, CANDIDATES, network=NETWORK, now=EPOCH)
    return memory


def test_what_was_found_is_recalled_for_the_same_question_only() -> None:
    """Another model is another question."""
    memory = _memory()
    assert memory.recall(QUESTION, network=NETWORK, now=EPOCH + 1) == CANDIDATES
    assert memory.recall((Wanted(Task.LLM), Region.ASIA), network=NETWORK, now=EPOCH + 1) == []


def test_a_client_that_learned_where_it_is_need_not_search_at_once() -> None:
    """What it found before is good, though to be looked up anew; once that is done, only the new answer counts."""
    memory = _memory()
    here = (QUESTION[0], Region.EUROPE)
    assert memory.recall(here, network=NETWORK, now=EPOCH + 1) == CANDIDATES
    assert memory.is_old(here, EPOCH + 1)
    memory.remember(here, CANDIDATES[:1], network=NETWORK, now=EPOCH + 1)
    assert memory.recall(here, network=NETWORK, now=EPOCH + 1) == CANDIDATES[:1]
    assert memory.recall(QUESTION, network=NETWORK, now=EPOCH + 1) == CANDIDATES


def test_adverts_expire_one_by_one_and_an_answer_as_a_whole() -> None:
    """Nobody is asked who announced himself longer ago than adverts live."""
    memory = _memory()
    assert memory.recall(QUESTION, network=NETWORK, now=EPOCH + 20) == CANDIDATES[:1]
    assert memory.recall(QUESTION, network=NETWORK, now=EPOCH + KEPT_S) == []


def test_a_newer_word_of_the_tracker_voids_what_was_verified_before() -> None:
    """It may revoke a node's certificate; and a clock that was set back may not keep an answer alive."""
    memory = _memory()
    assert memory.recall(QUESTION, network=_network(), now=EPOCH + 1) == []
    assert memory.recall(QUESTION, network=NETWORK, now=EPOCH + 1) == []
    assert _memory().recall(QUESTION, network=NETWORK, now=EPOCH - 1) == []


def test_nothing_found_is_not_remembered() -> None:
    """A node may come at any moment: the next call searches again."""
    memory = _memory()
    memory.remember(QUESTION, [], network=NETWORK, now=EPOCH)
    assert memory.recall(QUESTION, network=NETWORK, now=EPOCH) == []


def test_an_answer_is_looked_up_again_after_a_while() -> None:
    """Long before it is given up."""
    memory = _memory()
    assert not memory.is_old(QUESTION, EPOCH + REFRESH_AFTER_S - 1)
    assert memory.is_old(QUESTION, EPOCH + REFRESH_AFTER_S)
    assert memory.is_old((QUESTION[0], None), EPOCH)
