"""``gpunode bench tracker``: what one tracker process takes of look-ups, pull workers and jobs, on loopback."""
