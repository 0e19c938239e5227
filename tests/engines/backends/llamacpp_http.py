"""llama.cpp's own server with the real model, in a process of its own: ``python -m … MODEL``. Prints its address."""

import sys

import xllamacpp
from gpunode_engines.catalogue import resolve_model


def main(path: str) -> None:
    """Serve until standard input ends."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.model_alias = {"smol"}
    parameters.chat_template = resolve_model("smollm2-135m").chat_template  # its own is worse, see models.toml
    parameters.n_ctx = 1024
    parameters.n_parallel = 2
    parameters.kv_unified = False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.api_keys = ["secret"]
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)  # noqa: T201 -- the parent reads it
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
