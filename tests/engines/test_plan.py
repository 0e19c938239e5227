import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.catalogue import CatalogueEntry, ServerSource, resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import Gpu, Machine
from gpunode_engines.errors import ModelNotPulled, NotEnoughMemory
from gpunode_engines.model_lock import LockedFile, LockedModel, ModelLock
from gpunode_engines.plan import create_engine, plan_engine, wanted_memory_bytes

MACHINE = Machine(physical_cores=6, logical_cores=12, memory_bytes=16 << 30, available_memory_bytes=8 << 30, gpus=())
SMOLLM2 = resolve_model("smollm2")


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    """Settings whose folders are the test's own."""
    return EngineSettings(models_dir=tmp_path, cache_dir=tmp_path)


def test_the_catalogue_gives_the_defaults(settings: EngineSettings, smollm2_path: Path) -> None:
    """Context, slots and template from the entry, threads from the machine, the rest from the file."""
    plan = plan_engine(SMOLLM2, settings, MACHINE)
    assert plan.files == (str(smollm2_path),)
    assert plan.quantisation == "Q4_1"
    assert plan.weights_digest == hashlib.sha256(smollm2_path.read_bytes()).digest()
    assert (plan.options.context_tokens, plan.options.slots, plan.options.threads) == (4096, 4, 6)
    assert plan.options.chat_template == SMOLLM2.chat_template
    assert plan.memory_bytes == smollm2_path.stat().st_size + 23_040 * 4096 * 4
    assert not plan.options.use_gpu


def test_settings_override(settings: EngineSettings) -> None:
    """What the user asks for counts, up to the context that the model was trained for."""
    changes = {"engine_threads": 1, "engine_slots": 2, "engine_context_tokens": 100_000}
    options = plan_engine(SMOLLM2, settings.model_copy(update=changes), MACHINE).options
    assert (options.threads, options.slots, options.context_tokens) == (1, 2, 8192)


def _with_card(free_bytes: int) -> Machine:
    return replace(MACHINE, gpus=(Gpu(name="A", memory_bytes=8 << 30, free_memory_bytes=free_bytes),))


def test_a_gpu_is_used_unless_switched_off(settings: EngineSettings) -> None:
    """Offloading needs a card and the user's consent."""
    machine = _with_card(8 << 30)
    assert plan_engine(SMOLLM2, settings, machine).options.use_gpu
    assert not plan_engine(SMOLLM2, settings.model_copy(update={"engine_gpu": False}), machine).options.use_gpu


def test_less_memory_means_fewer_jobs_and_says_so(
    settings: EngineSettings, smollm2_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """4,096 tokens take 94 MB a job: with 320 MB free two of the four fit beside the weights, on CPU and card alike."""
    free_bytes = 320 << 20
    for machine in (replace(MACHINE, available_memory_bytes=free_bytes), _with_card(free_bytes)):
        plan = plan_engine(SMOLLM2, settings, machine)
        assert (plan.options.slots, plan.options.context_tokens) == (2, 4096)
        assert plan.memory_bytes == smollm2_path.stat().st_size + 23_040 * 4096 * 2 < free_bytes
        assert "takes 2 jobs at once of 4096 tokens, not 4 of 4096" in caplog.text
        caplog.clear()


def test_a_model_too_large_for_the_card_runs_on_the_cpu(
    settings: EngineSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """With all that is wanted there, and a word about it."""
    options = plan_engine(SMOLLM2, settings, _with_card(64 << 20)).options
    assert (options.use_gpu, options.slots) == (False, 4)
    assert "0.1 GiB of memory of the graphics card can be used" in caplog.text
    assert "It runs on the CPU." in caplog.text


def test_a_model_that_fits_nowhere_is_refused(settings: EngineSettings) -> None:
    """Free memory and the limit of an engine's process both count."""
    with pytest.raises(NotEnoughMemory, match=r"smollm2-135m needs at least 0\.1 GiB"):
        plan_engine(SMOLLM2, settings, replace(MACHINE, available_memory_bytes=64 << 20))
    with pytest.raises(NotEnoughMemory, match="GPUNODE_ENGINE_MEMORY_LIMIT_BYTES"):
        plan_engine(SMOLLM2, settings.model_copy(update={"engine_memory_limit_bytes": 64 << 20}), MACHINE)


def test_missing_files_are_reported(settings: EngineSettings) -> None:
    """The next step stands in the message."""
    with pytest.raises(ModelNotPulled):
        plan_engine(resolve_model("qwen2.5-7b"), settings, MACHINE)


def test_the_engine_gets_the_limits_of_the_settings(settings: EngineSettings) -> None:
    """Memory and time limits reach the supervisor."""
    changed = settings.model_copy(update={"engine_memory_limit_bytes": 5, "engine_time_limit_s": 7.0})
    engine = create_engine(plan_engine(SMOLLM2, settings, MACHINE), changed)
    assert (engine.limits.rss_bytes, engine.limits.job_s) == (5, 7.0)


def test_images_take_float32_on_a_cpu(settings: EngineSettings) -> None:
    """Twice the size of their files in half precision."""
    digits = resolve_model("digits")
    on_cpu, on_gpu = plan_engine(digits, settings, MACHINE), plan_engine(digits, settings, _with_card(8 << 30))
    assert on_cpu.memory_bytes == 2 * on_gpu.memory_bytes
    assert on_gpu.memory_bytes == sum(Path(name).stat().st_size for name in on_gpu.files if name.endswith("tensors"))


def test_images_use_a_card_that_is_too_small(settings: EngineSettings) -> None:
    """Their backend moves parts of the model there and back."""
    options = plan_engine(resolve_model("digits"), settings, _with_card(1 << 20)).options
    assert (options.use_gpu, options.slots) == (True, 1)


def test_images_have_the_time_that_the_node_gives_them(settings: EngineSettings) -> None:
    """The limit of chat jobs is not theirs."""
    digits = create_engine(plan_engine(resolve_model("digits"), settings, MACHINE), settings)
    chat = create_engine(plan_engine(SMOLLM2, settings, MACHINE), settings)
    assert digits.limits.job_s > chat.limits.job_s == settings.engine_time_limit_s


def _checkpoint(settings: EngineSettings, name: str, weights_bytes: int) -> CatalogueEntry:
    """Return a model for CUDA whose checkpoint is here: the headers and as many bytes of weights."""
    entry = resolve_model(name).for_cuda()
    assert entry is not None
    folder = settings.models_dir / entry.stored_as
    folder.mkdir(parents=True)
    config = {"torch_dtype": "bfloat16", "max_position_embeddings": 4096, "num_attention_heads": 4, "hidden_size": 64}
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(weights_bytes)
    names = ("config.json", "model.safetensors")
    files = tuple(LockedFile(name=each, size_bytes=(folder / each).stat().st_size, sha256="0" * 64) for each in names)
    ModelLock(settings.models_dir).put(entry.stored_as, LockedModel(repo="r", revision="r", files=files))
    return entry


def test_weights_beyond_the_card_lie_in_ram(settings: EngineSettings) -> None:
    """As they are stored; quantised ones cannot, and take less."""
    entry = _checkpoint(settings, "qwen2.5-7b", 64 << 20)
    card = _with_card(40 << 20)
    whole = plan_engine(entry, settings, card)
    assert whole.options.use_gpu
    assert whole.memory_bytes == (64 << 20) + whole.options.cache_bytes
    quantised = plan_engine(entry.model_copy(update={"bits_per_weight": 4}), settings, card)
    assert (quantised.options.use_gpu, quantised.options.quantised_bits) == (True, 4)
    assert quantised.memory_bytes == (16 << 20) + quantised.options.cache_bytes


def test_a_servers_model_needs_nothing_here(settings: EngineSettings) -> None:
    """No memory and no files; as nobody knows its weights, no two starts count as equal."""
    source = ServerSource(kind="server", url="http://127.0.0.1:8000/v1", model="m")
    entry = resolve_model("qwen2.5-7b").model_copy(update={"source": source, "backend": "openai"})
    first, second = (plan_engine(entry, settings, MACHINE) for _ in range(2))
    assert first.options.server is not None
    assert (first.options.server.port, first.memory_bytes, first.files) == (8000, 0, ())
    assert first.weights_digest != second.weights_digest


def test_what_a_model_takes_is_known_before_it_is_pulled(settings: EngineSettings) -> None:
    """As the plan will have it: image models in half precision are widened on CPUs, and a small card is no help."""
    smollm2 = wanted_memory_bytes(SMOLLM2, settings, MACHINE)
    assert smollm2 == plan_engine(SMOLLM2, settings, MACHINE).memory_bytes
    stable, whisper = resolve_model("sd15"), resolve_model("whisper-small")
    assert wanted_memory_bytes(stable, settings, MACHINE) == 2 * stable.weights_bytes()
    assert wanted_memory_bytes(stable, settings, _with_card(8 << 30)) == stable.weights_bytes()
    assert wanted_memory_bytes(stable, settings, _with_card(1 << 30)) == 2 * stable.weights_bytes()
    assert wanted_memory_bytes(whisper, settings, MACHINE) == whisper.weights_bytes()


def test_what_a_packaged_image_model_takes(settings: EngineSettings) -> None:
    """The figure of the list is the plan's."""
    digits = resolve_model("digits-diffusion")
    assert wanted_memory_bytes(digits, settings, MACHINE) == plan_engine(digits, settings, MACHINE).memory_bytes
