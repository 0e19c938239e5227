from gpunode._job_wish import JobWish
from gpunode._session import Session
from gpunode_protocol.payloads import ChatMessage, LlmParams
from gpunode_protocol.tasks import Task

from tests.sdk.world import World

PARAMS = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=100)


async def test_jobs_of_a_client_share_what_is_known_of_nodes(world: World) -> None:
    """What one job learns, the next one uses: the services are the session's, not the job's."""
    world.add_node()
    session = Session(world.config(), world.surroundings())
    services = (await session.ready()).services
    runs = [await session.start_job(JobWish(Task.LLM, PARAMS)) for _ in range(2)]
    assert [run._services for run in runs] == [services, services]
    assert len(world.tracker.grants) == 1
    await session.close()
