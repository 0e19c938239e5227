"""Pipelines of the large model families with a few random weights: their code paths, not their pictures."""

import shutil
from pathlib import Path
from typing import Any

import diffusers
import gpunode_engines
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

DIGITS = Path(gpunode_engines.__file__).parent / "models" / "digits-diffusion"
CHANNELS = 4
"""Of the latents."""
SD3_CHANNELS = 16
"""Its inpainting pipeline takes no other number."""


def _clip_text() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 140,
        "max_position_embeddings": 16,
        "bos_token_id": 138,
        "eos_token_id": 139,
        "pad_token_id": 139,
        "projection_dim": 32,
    }


def _clip_tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(str(DIGITS / "tokenizer"))


def _t5_tokenizer() -> Any:
    words = ["<pad>", "</s>", "<unk>", "a", "lighthouse", "word"]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def _vae(channels: int = CHANNELS) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=32,
        shift_factor=0.1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def save_sdxl(folder: Path) -> None:
    """Write a Stable Diffusion XL of 64 x 64 pixels."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=32,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=80,
        cross_attention_dim=64,
        norm_num_groups=4,
    )
    config = transformers.CLIPTextConfig(**_clip_text())
    diffusers.StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=transformers.CLIPTextModel(config),
        text_encoder_2=transformers.CLIPTextModelWithProjection(config),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(),
        add_watermarker=False,
    ).save_pretrained(folder)


def save_flux(folder: Path, *, distilled: bool) -> None:
    """Write a FLUX.1; ``distilled``: as schnell, else as dev. The pipeline itself says 256 x 256 pixels."""
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=not distilled,
    )
    t5 = transformers.T5Config(d_model=32, d_ff=37, d_kv=8, num_heads=4, num_layers=2, vocab_size=6)
    diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=not distilled),
        vae=_vae(),
        text_encoder=transformers.CLIPTextModel(transformers.CLIPTextConfig(**_clip_text())),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=transformers.T5EncoderModel(t5),
        tokenizer_2=_t5_tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)


def save_sd3(folder: Path) -> None:
    """Write a Stable Diffusion 3 of 64 x 64 pixels."""
    torch.manual_seed(0)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=SD3_CHANNELS,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=64,
        out_channels=SD3_CHANNELS,
        pos_embed_max_size=96,
    )
    config = transformers.CLIPTextConfig(**_clip_text())
    t5 = transformers.T5Config(d_model=32, d_ff=37, d_kv=8, num_heads=4, num_layers=2, vocab_size=6)
    diffusers.StableDiffusion3Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=_vae(SD3_CHANNELS),
        text_encoder=transformers.CLIPTextModelWithProjection(config),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=transformers.CLIPTextModelWithProjection(config),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=transformers.T5EncoderModel(t5),
        tokenizer_3=_t5_tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)


def copy_digits(folder: Path) -> Path:
    """Copy the project's own model, for tests that damage it."""
    return Path(shutil.copytree(DIGITS, folder))
