"""``python -m gpunode`` is the command ``gpunode``."""

import sys

from gpunode.cli import main

if __name__ == "__main__":
    sys.exit(main())
