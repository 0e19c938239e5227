"""``gpunode demo``: a whole network on this machine, for one question or one chat, gone afterwards."""
