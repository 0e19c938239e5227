from gpunode import errors
from gpunode.errors import ClientError, NoNodeFound
from gpunode.types import Attempt


def test_reasons_are_counted() -> None:
    """Why nodes that were tried failed, and why others were not tried."""
    attempts = [Attempt("a", "asia", "busy"), Attempt("b", "asia", "busy")]
    error = NoNodeFound("Nobody.", attempts=attempts, reasons={"advert has expired": 3})
    assert str(error) == "Nobody. What happened: 2 x busy; 3 x advert has expired"
    assert str(NoNodeFound("Nobody.")) == "Nobody."


def test_every_error_has_a_message_for_people() -> None:
    """The docstring is shown where no message is given, and all of them can be caught together."""
    own = [item for item in vars(errors).values() if isinstance(item, type) and item.__module__ == errors.__name__]
    assert all(issubclass(item, ClientError) and (item.__doc__ or "").strip() for item in own)
    assert set(errors.__all__) >= {item.__name__ for item in own}
