"""Diffusion pipelines: a denoiser, one or more encoders of text, an autoencoder.

A pipeline's config has a section for each component, as the repository has a folder: `transformer` or
`unet`, `text_encoder`, `text_encoder_2`, `text_encoder_3`, `vae`. Only the denoiser works in every step.

Source: `CLIPTextModel`, `CLIPTextModelWithProjection`, `T5EncoderModel` of transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rackrate.catalog.architecture import autoencoders, denoisers
from rackrate.catalog.architecture.anatomy import Architecture, Stack
from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.encoders import classic_stack
from rackrate.catalog.architecture.family import Family
from rackrate.catalog.architecture.feedforward import Dense
from rackrate.catalog.architecture.layers import Attention
from rackrate.catalog.architecture.sheet import Sheet
from rackrate.catalog.architecture.towers import write_layer
from rackrate.errors import NoAnswer

DENOISERS = ("transformer", "unet")


def pipeline(config: Config, kind: Family) -> Architecture:
    """Read a pipeline; a component that the config does not describe is left out, and said so.

    Raises:
        NoAnswer: the denoiser is not described, or a component is of a class that is not known.
    """
    tensors, stacks = [], []
    for part, defaults in kind.defaults.items():
        section = dict(config.section(part))
        if part in DENOISERS:  # the catalog and a denoiser's own file have its numbers at the top
            section = {**config.values, **section}
        elif not section:
            config.note(f"`{part}` is not in the config and was not counted")
            continue
        named = section.get("_class_name") if part in section else None
        component = named if isinstance(named, str) and named in _WRITERS else defaults["_class_name"]
        level = Config(section, defaults, f"{config.where}, {part}", config.notes)
        sheet = Sheet(part)
        if component not in _WRITERS:
            raise NoAnswer(f"{level.where} cannot be read: no reader knows {component!r}")
        stack = _WRITERS[component](level, sheet)
        tensors += sheet.tensors
        stacks += [stack] if stack else []
    return Architecture("", kind.model_type, kind.task, tuple(tensors), (), tuple(stacks))


def _clip(config: Config, sheet: Sheet) -> Stack:
    """Write `CLIPTextModel`."""
    width, inner = config.count("hidden_size", least=1), config.count("intermediate_size")
    n_layers, n_heads = config.count("num_hidden_layers"), config.count("num_attention_heads", 12, least=1)
    sheet.table("token_embd", config.count("vocab_size"), width, "vocab")
    sheet.table("position_embd", config.count("max_position_embeddings"), width)
    write_layer(sheet.times(n_layers), width, inner)
    sheet.norm("output_norm", width, "layer")
    return classic_stack(sheet.part, n_layers, width, inner, n_heads, width // n_heads)


def _clip_projected(config: Config, sheet: Sheet) -> Stack:
    """Write `CLIPTextModelWithProjection`: one more matrix behind it."""
    stack = _clip(config, sheet)
    sheet.matrix("text_projection", "mlp", stack.hidden_size, config.count("projection_dim"))
    return stack


def _t5(config: Config, sheet: Sheet) -> Stack:
    """Write `T5EncoderModel` 1.1: gated blocks; the first layer's places serve all."""
    width, inner = config.count("hidden_size", least=1), config.count("intermediate_size")
    n_heads, head_dim = config.count("num_attention_heads", least=1), config.count("d_kv", least=1)
    n_layers = config.count("num_hidden_layers")
    sheet.table("token_embd", config.count("vocab_size"), width, "vocab")
    sheet.table("attn_rel_b", config.count("relative_attention_num_buckets"), n_heads)
    layers = sheet.times(n_layers)
    Attention("full", n_heads, n_heads, head_dim, head_dim).write(layers, width)
    Dense(inner).write(layers, width)
    layers.times(2).norm("layer_norm", width)
    sheet.norm("output_norm", width)
    return classic_stack(sheet.part, n_layers, width, inner, n_heads, head_dim, is_gated=True)


_WRITERS: Mapping[str, Callable[[Config, Sheet], Stack | None]] = {
    "AutoencoderKL": autoencoders.write_kl,
    "AutoencoderKLCogVideoX": autoencoders.write_cogvideox,
    "CLIPTextModel": _clip,
    "CLIPTextModelWithProjection": _clip_projected,
    "CogVideoXTransformer3DModel": denoisers.cogvideox,
    "FluxTransformer2DModel": denoisers.flux,
    "SD3Transformer2DModel": denoisers.sd3,
    "T5EncoderModel": _t5,
    "UNet2DConditionModel": denoisers.unet,
}
"""What writes a component, by its class."""
