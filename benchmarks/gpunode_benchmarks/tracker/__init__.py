"""``gpunode bench tracker``: a real tracker process under look-ups, workers and submissions, over HTTP on loopback."""
