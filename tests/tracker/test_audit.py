"""What the audit log tells."""

from gpunode_tracker.audit import Action, detail_without_secrets


def test_details_keep_what_is_no_secret() -> None:
    """Numbers, lists and ordinary texts; keys and tokens are cut out of texts."""
    detail = {"credits": 3, "scopes": ["jobs"], "until": None, "reason": "leaked gpn_0123456789"}
    assert detail_without_secrets(detail) == detail | {"reason": "leaked gpn_…"}


def test_actions_are_words() -> None:
    """They stand in the database and in filters of URLs."""
    assert all(action.isascii() and action.replace("_", "").islower() for action in Action)
