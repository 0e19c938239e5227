"""Settings for the engines' tests."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # some tests import diffusers, and it onnxruntime, into this process
