from gpunode_node.token_losses import KEY_ELSEWHERE, LOSSES, WITHIN_S, TokenLosses


def test_a_token_is_lost_now_and_then() -> None:
    """A tracker that was restored has forgotten it; that is no problem."""
    losses = TokenLosses()
    assert [losses.note(number * WITHIN_S / (LOSSES - 1) * 1.01) for number in range(10)] == [False] * 10


def test_tokens_are_lost_again_and_again() -> None:
    """Somebody else takes them; that is told once, and lasts while it goes on."""
    losses = TokenLosses()
    assert [losses.note(20.0 * number) for number in range(6)] == [False, False, True, False, False, False]
    assert losses.problem(100.0) == KEY_ELSEWHERE
    assert losses.problem(60.0 + WITHIN_S) == KEY_ELSEWHERE
    assert losses.problem(61.0 + WITHIN_S) == ""
