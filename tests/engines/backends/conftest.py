"""The same model as safetensors, converted once for all tests of the backends."""

from pathlib import Path

import pytest
from gpunode_benchmarks.checkpoint import pull_checkpoint
from gpunode_engines.catalogue import CatalogueEntry


@pytest.fixture(scope="session")
def checkpoint_models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that holds the checkpoint."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def checkpoint_entry(smollm2_path: Path, checkpoint_models_dir: Path) -> CatalogueEntry:
    """Its catalogue entry."""
    assert smollm2_path.is_file()
    return pull_checkpoint(checkpoint_models_dir)


@pytest.fixture(scope="session")
def checkpoint_folder(checkpoint_entry: CatalogueEntry, checkpoint_models_dir: Path) -> Path:
    """The folder with config, tokenizer and weights."""
    return checkpoint_models_dir / checkpoint_entry.stored_as
