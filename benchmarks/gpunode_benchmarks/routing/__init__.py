"""Whether clients choose the node that answers soonest, in a world whose truth is known."""
