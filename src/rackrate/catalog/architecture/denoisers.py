"""The part of a diffusion pipeline that works in every denoising step.

    FluxTransformer2DModel          two streams that attend together, then one
    SD3Transformer2DModel           two streams that attend together
    CogVideoXTransformer3DModel     one stream, modulated by a narrow time step
    UNet2DConditionModel            convolutions down and up, transformers between them

Source: the classes of these names in diffusers 0.42.
"""

from __future__ import annotations

from rackrate.catalog.architecture.anatomy import Stack
from rackrate.catalog.architecture.autoencoders import AREA, widths_of, write_resnet
from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.encoders import classic_stack
from rackrate.catalog.architecture.feedforward import Dense
from rackrate.catalog.architecture.layers import Attention
from rackrate.catalog.architecture.sheet import Sheet
from rackrate.errors import BadQuantity

TIME_SIZE = 256  # of the sinusoids that stand for a time step


def _twice(sheet: Sheet, name: str, n_in: int, width: int) -> None:
    """Write the two layers through which a time step or a text enters."""
    sheet.matrix(f"{name}_1", "mlp", n_in, width, bias=True)
    sheet.matrix(f"{name}_2", "mlp", width, width, bias=True)


def _heads(config: Config) -> tuple[int, int]:
    return config.count("num_attention_heads", least=1), config.count("head_dim", least=1)


def flux(config: Config, sheet: Sheet) -> Stack:
    """Write `FluxTransformer2DModel`: each block is modulated by a projection of the time step."""
    n_heads, head_dim = _heads(config)
    width, channels = n_heads * head_dim, config.count("in_channels")
    sheet.matrix("img_in", "mlp", channels, width, bias=True)
    sheet.matrix("txt_in", "mlp", config.count("joint_attention_dim"), width, bias=True)
    n_clocks = 2 if config.flag("guidance_embeds") else 1  # guidance where it was distilled in
    _twice(sheet.times(n_clocks), "time_in", TIME_SIZE, width)
    _twice(sheet, "vector_in", config.count("pooled_projection_dim"), width)
    n_double, n_single = config.count("num_layers"), config.count("num_single_layers")
    attention = Attention(
        "full", n_heads, n_heads, head_dim, head_dim, qkv_bias=True, output_bias=True, head_norms="head"
    )
    stream = sheet.times(2 * n_double)  # one for the image, one for the text
    stream.matrix("double_mod", "mlp", width, 6 * width, "column", bias=True)
    attention.write(stream, width)
    Dense(4 * width, is_gated=False, bias=True).write(stream, width)
    single = sheet.times(n_single)
    single.matrix("single_mod", "mlp", width, 3 * width, "column", bias=True)
    for name in ("attn_q", "attn_k", "attn_v"):
        single.matrix(name, "attention", width, width, "column", bias=True)
    single.vector("attn_q_norm", head_dim)
    single.vector("attn_k_norm", head_dim)
    single.matrix("ffn_up", "mlp", width, 4 * width, "column", bias=True)
    single.matrix("linear2", "mlp", 5 * width, width, "row", bias=True)
    sheet.matrix("output_mod", "mlp", width, 2 * width, bias=True)
    sheet.matrix("img_out", "mlp", width, config.count("out_channels", channels), bias=True)
    n_layers = n_double + n_single
    return classic_stack(sheet.part, n_layers, width, 4 * width, n_heads, head_dim, has_head_norms=True)


def sd3(config: Config, sheet: Sheet) -> Stack:
    """Write `SD3Transformer2DModel`; the text's stream ends with the last layer's attention."""
    n_heads, head_dim = _heads(config)
    width, n_layers, patch = (
        n_heads * head_dim,
        config.count("num_layers", least=1),
        config.count("patch_size"),
    )
    norms = "head" if config.text("qk_norm") else ""
    attention = Attention(
        "full", n_heads, n_heads, head_dim, head_dim, qkv_bias=True, output_bias=True, head_norms=norms
    )
    sheet.conv("img_in", config.count("in_channels"), width, patch**2)
    sheet.matrix("txt_in", "mlp", config.count("joint_attention_dim"), width, bias=True)
    _twice(sheet, "time_in", TIME_SIZE, width)
    _twice(sheet, "vector_in", config.count("pooled_projection_dim"), width)
    for n_streams in (n_layers, n_layers - 1):  # the image's, and the text's but for its last layer
        stream = sheet.times(n_streams)
        stream.matrix("mod", "mlp", width, 6 * width, "column", bias=True)
        attention.write(stream, width)
        Dense(4 * width, is_gated=False, bias=True).write(stream, width)
    sheet.matrix("mod", "mlp", width, 2 * width, bias=True)
    for name in ("attn_q", "attn_k", "attn_v"):
        sheet.matrix(name, "attention", width, width, "column", bias=True)
    if norms:
        sheet.times(2).vector("attn_norm", head_dim)
    dual = sheet.times(len(config.numbers("dual_attention_layers")))  # the image attends to itself once more
    dual.matrix("mod", "mlp", width, 3 * width, "column", bias=True)
    attention.write(dual, width)
    sheet.matrix("output_mod", "mlp", width, 2 * width, bias=True)
    sheet.matrix("img_out", "mlp", width, patch**2 * config.count("out_channels"), bias=True)
    return classic_stack(
        sheet.part, n_layers, width, 4 * width, n_heads, head_dim, has_head_norms=bool(norms)
    )


def cogvideox(config: Config, sheet: Sheet) -> Stack:
    """Write `CogVideoXTransformer3DModel`."""
    n_heads, head_dim = _heads(config)
    width, n_layers, patch = n_heads * head_dim, config.count("num_layers"), config.count("patch_size")
    channels, time_size = config.count("in_channels"), config.count("time_embed_dim")
    if config.get("patch_size_t") is not None:
        raise BadQuantity(f"{config.where}: `patch_size_t` is of CogVideoX 1.5, which is not read")
    sheet.conv("img_in", channels, width, patch**2)
    sheet.matrix("txt_in", "mlp", config.count("text_embed_dim"), width, bias=True)
    sheet.matrix("time_in_1", "mlp", width, time_size, bias=True)
    sheet.matrix("time_in_2", "mlp", time_size, time_size, bias=True)
    layers = sheet.times(n_layers)
    for name in ("attn", "ffn"):
        layers.matrix(f"{name}_mod", "mlp", time_size, 6 * width, bias=True)
        layers.norm(f"{name}_norm", width, "layer")
    attention = Attention(
        "full",
        n_heads,
        n_heads,
        head_dim,
        head_dim,
        qkv_bias=True,
        output_bias=True,
        head_norms="head",
        head_norm="layer",
    )
    attention.write(layers, width)
    Dense(4 * width, is_gated=False, bias=True).write(layers, width)
    sheet.times(2).norm("output_norm", width, "layer")
    sheet.matrix("output_mod", "mlp", time_size, 2 * width, bias=True)
    sheet.matrix("img_out", "mlp", width, patch**2 * config.count("out_channels", channels), bias=True)
    return classic_stack(sheet.part, n_layers, width, 4 * width, n_heads, head_dim, has_head_norms=True)


def unet(config: Config, sheet: Sheet) -> Stack:
    """Write `UNet2DConditionModel`: every block up sees the blocks down of its own size."""
    widths, n_resnets = widths_of(config), config.count("layers_per_block", least=1)
    first, last, time_size = widths[0], widths[-1], 4 * widths[0]
    attends = ["CrossAttn" in name for name in config.words("down_block_types")]
    depths = _depths(config, len(widths))
    if len(attends) != len(widths):
        raise BadQuantity(f"{config.where}: `down_block_types` does not name {len(widths)} blocks")
    sheet.conv("conv_in", config.count("in_channels"), first, AREA)
    _twice(sheet, "time_embed", first, time_size)
    if config.text("addition_embed_type") == "text_time":
        _twice(sheet, "label_emb", config.count("projection_class_embeddings_input_dim"), time_size)
    previous, passed = first, [first]
    for i, width in enumerate(widths):
        for _ in range(n_resnets):
            write_resnet(sheet, previous, width, time_size=time_size)
            previous = width
            passed.append(width)
        _transformers(config, sheet.times(n_resnets if attends[i] else 0), width, depths[i])
        if i < len(widths) - 1:
            sheet.conv("downsample", width, width, AREA)
            passed.append(width)
    write_resnet(sheet.times(2), last, last, time_size=time_size)
    _transformers(config, sheet, last, depths[-1])
    for i, width in reversed(list(enumerate(widths))):
        for _ in range(n_resnets + 1):
            write_resnet(sheet, previous + passed.pop(), width, time_size=time_size)
            previous = width
        _transformers(config, sheet.times(n_resnets + 1 if attends[i] else 0), width, depths[i])
        if i:
            sheet.conv("upsample", width, width, AREA)
    sheet.norm("conv_norm_out", first, "layer")
    sheet.conv("conv_out", first, config.count("out_channels"), AREA)
    n_blocks = sum((2 * n_resnets + 1) * d for d, on in zip(depths, attends, strict=True) if on) + depths[-1]
    said = config.get("num_attention_heads") or config.get("attention_head_dim")  # heads, under a wrong name
    n_heads = said[-1] if isinstance(said, (list, tuple)) and said else said
    n_heads = n_heads if isinstance(n_heads, int) and n_heads > 0 else 1
    return classic_stack(sheet.part, n_blocks, last, 4 * last, n_heads, last // n_heads, is_gated=True)


def _depths(config: Config, n_blocks: int) -> list[int]:
    """Return the layers of the transformers in each block."""
    return list(config.per_layer("transformer_layers_per_block", n_blocks, 1))


def _transformers(config: Config, sheet: Sheet, width: int, depth: int) -> None:
    """Write a transformer between convolutions: it attends to the image, then to the text."""
    text = config.count("cross_attention_dim")
    sheet.norm("norm", width, "layer")
    for name in ("proj_in", "proj_out"):
        if config.flag("use_linear_projection"):
            sheet.matrix(name, "mlp", width, width, bias=True)
        else:
            sheet.conv(name, width, width, 1)
    layers = sheet.times(depth)
    for look, n_in in (("attn", width), ("cross_attn", text)):
        layers.matrix(f"{look}_q", "attention", width, width, "column")
        layers.matrix(f"{look}_k", "attention", n_in, width, "column")
        layers.matrix(f"{look}_v", "attention", n_in, width, "column")
        layers.matrix(f"{look}_output", "attention", width, width, "row", bias=True)
    Dense(4 * width, is_gated=True, bias=True).write(layers, width)
    layers.times(3).norm("layer_norm", width, "layer")
