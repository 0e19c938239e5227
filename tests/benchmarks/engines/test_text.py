from gpunode_benchmarks.engines.text import TextOrders, prompt_of


def test_prompts_share_no_beginning() -> None:
    """A cache of prompts could not help: each one differs from its first token on."""
    assert len({prompt_of(number)[0] for number in range(1_000)}) == 1_000


def test_no_prompt_comes_twice() -> None:
    """Not even in the same order."""
    orders = TextOrders()
    made = [orders.order(streams, 4) for streams in (1, 8, 8)]
    prompts = [prompt for order in made for prompt in order["prompts"]]
    assert (len(prompts), len(set(prompts))) == (17, 17)
    assert made[0]["output_tokens"] == 4
