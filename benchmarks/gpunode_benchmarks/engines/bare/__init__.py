"""The libraries that engines wrap, each alone in processes; run by ``bare_child``, never imported by gpunode itself."""
