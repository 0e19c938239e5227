from gpunode.home_words import home_in_words


def test_a_region_and_where_it_is_from() -> None:
    """Or how to name one."""
    assert home_in_words("europe", "setting") == "Your region: europe, as set."
    assert home_in_words("europe", "geoip") == "Your region: europe, by your address."
    assert home_in_words("europe", "rtt") == "Your region: europe, by measured round trips."
    assert "GPUNODE_REGION" in home_in_words(None, None)
