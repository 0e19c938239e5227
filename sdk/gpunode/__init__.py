"""Client of the gpunode network."""
