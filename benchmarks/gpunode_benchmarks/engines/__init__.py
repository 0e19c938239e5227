"""What engines cost beside the bare libraries that they wrap, as ratios of work per second."""
