"""Towers that turn an image into features.

    siglip, clip, idefics   patches of one square image; places are looked up; a classic encoder
    siglip2                 the same for images of any shape
    vit, dinov2             the same with tokens beside the patches; dinov2 scales what its layers add
    pixtral                 patches of any image; RMSNorms, gated blocks, no biases
    internvl                a scale after attention and after the block
    llama4                  features are shuffled together and pass an adapter
    mllama                  tiles of an image, each with a place of its own; two stacks
    qwen2, qwen2_5, qwen3   patches of any image; a merger of 2 x 2 patches
    kimi                    patches of any image; places in a table
    glm4v                   patches of any image; a convolution over 2 x 2 of them, a gated merger
    gemma4                  patches of any image; norms before and after

Each is written from `vision_config`, and returns the most patches of one image that it sees at once.

Source: the vision models of transformers 5.23 by these names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.feedforward import Dense
from rackrate.catalog.architecture.layers import Attention
from rackrate.catalog.architecture.sheet import Sheet


def write_layer(
    sheet: Sheet, width: int, inner: int, *, norm: str = "layer", is_gated: bool = False, bias: bool = True
) -> None:
    """Write an encoder layer: attention of all with all, a feed-forward block, two norms."""
    Attention("full", 1, 1, width, width, qkv_bias=bias, output_bias=bias).write(sheet, width)
    Dense(inner, is_gated, bias).write(sheet, width)
    sheet.norm("attn_norm", width, norm)
    sheet.norm("ffn_norm", width, norm)


def _square(vision: Config) -> int:
    """Return the patches of the one square image that a tower takes."""
    side = vision.count("image_size", least=1) // vision.count("patch_size", least=1)
    return side * side


def _patches(vision: Config, sheet: Sheet, *, bias: bool) -> int:
    """Write the convolution over patches and return the width of their features."""
    width = vision.count("hidden_size", least=1)
    taps = vision.count("patch_size", least=1) ** 2
    sheet.conv("patch_embd", vision.count("num_channels"), width, taps, bias=bias)
    return width


def _layers(vision: Config) -> tuple[int, int]:
    """Return the layers of a tower and their inner width."""
    return vision.count("num_hidden_layers"), vision.count("intermediate_size")


def _siglip(vision: Config, sheet: Sheet) -> int:
    width, n_patches = _patches(vision, sheet, bias=True), _square(vision)
    _write_siglip(vision, sheet, n_patches, width)
    return n_patches


def _write_siglip(vision: Config, sheet: Sheet, n_patches: int, width: int) -> None:
    n_layers, inner = _layers(vision)
    sheet.table("position_embd", n_patches, width)
    write_layer(sheet.times(n_layers), width, inner)
    sheet.norm("post_norm", width, "layer")
    if vision.flag("vision_use_head"):  # pools the patches by one more layer with a learned query
        sheet.vector("head_probe", width)
        Attention("full", 1, 1, width, width, qkv_bias=True, output_bias=True).write(sheet, width)
        Dense(inner, is_gated=False, bias=True).write(sheet, width)
        sheet.norm("head_norm", width, "layer")


def _clip(vision: Config, sheet: Sheet) -> int:
    width, n_patches, (n_layers, inner) = (
        _patches(vision, sheet, bias=False),
        _square(vision),
        _layers(vision),
    )
    sheet.vector("class_embd", width)
    sheet.table("position_embd", n_patches + 1, width)
    write_layer(sheet.times(n_layers), width, inner)
    sheet.norm("pre_norm", width, "layer")
    sheet.norm("post_norm", width, "layer")
    return n_patches


def _siglip2(vision: Config, sheet: Sheet) -> int:
    width, n_patches = vision.count("hidden_size", least=1), vision.count("num_patches", least=1)
    taps = vision.count("num_channels") * vision.count("patch_size") ** 2
    sheet.matrix("patch_embd", "mlp", taps, width, bias=True)
    _write_siglip(vision, sheet, n_patches, width)
    return n_patches


def _vit(vision: Config, sheet: Sheet) -> int:
    width, n_patches = _patches(vision, sheet, bias=True), _square(vision)
    n_tokens = vision.count("num_class_tokens", 1)
    sheet.times(n_tokens).vector("class_embd", width)
    sheet.table("position_embd", n_patches + n_tokens, width)
    n_layers, inner = _layers(vision)
    layers = sheet.times(n_layers)
    bias = vision.flag("qkv_bias", otherwise=True)
    Attention("full", 1, 1, width, width, qkv_bias=bias, output_bias=True).write(layers, width)
    Dense(inner, is_gated=False, bias=True).write(layers, width)
    layers.norm("attn_norm", width, "layer")
    layers.norm("ffn_norm", width, "layer")
    sheet.norm("output_norm", width, "layer")
    return n_patches


def _dinov2(vision: Config, sheet: Sheet) -> int:
    width, n_patches = _patches(vision, sheet, bias=True), _square(vision)
    sheet.times(2).vector("class_embd", width)  # and that of a patch that is hidden
    sheet.table("register_embd", vision.count("num_register_tokens", 0), width)
    sheet.table("position_embd", n_patches + 1, width)
    layers, inner = sheet.times(vision.count("num_hidden_layers")), vision.count("mlp_ratio") * width
    is_gated = vision.flag("use_swiglu_ffn")
    if is_gated:  # two thirds of the width, rounded up to eights
        inner = (inner * 2 // 3 + 7) // 8 * 8
    write_layer(layers, width, inner, is_gated=is_gated)
    layers.vector("ls1", width)
    layers.vector("ls2", width)
    sheet.norm("output_norm", width, "layer")
    return n_patches


def _pixtral(vision: Config, sheet: Sheet) -> int:
    width, (n_layers, inner) = _patches(vision, sheet, bias=False), _layers(vision)
    sheet.norm("pre_norm", width)
    write_layer(sheet.times(n_layers), width, inner, norm="rms", is_gated=True, bias=False)
    return _square(vision)


def _internvl(vision: Config, sheet: Sheet) -> int:
    width, n_patches, (n_layers, inner) = _patches(vision, sheet, bias=True), _square(vision), _layers(vision)
    sheet.vector("class_embd", width)
    sheet.table("position_embd", n_patches + 1, width)
    norm = "rms" if vision.text("norm_type").startswith("rms") else "layer"
    has_norms = vision.flag("use_qk_norm") or vision.flag("qk_normalization")
    bias = vision.flag("attention_bias") or vision.flag("qkv_bias")
    layers = sheet.times(n_layers)
    head_norms = "width" if has_norms else ""
    attention = Attention("full", 1, 1, width, width, qkv_bias=bias, output_bias=True, head_norms=head_norms)
    attention.write(layers, width)
    Dense(inner, is_gated=False, bias=True).write(layers, width)
    for name in ("attn_norm", "ffn_norm"):
        layers.norm(name, width, norm)
    layers.vector("ls1", width)
    layers.vector("ls2", width)
    if not vision.flag("use_mean_pooling", otherwise=True):
        sheet.norm("post_norm", width, "layer")
    return n_patches


def _llama4(vision: Config, sheet: Sheet) -> int:
    n_patches, (_, inner) = _clip(vision, sheet), _layers(vision)
    sheet.matrix("adapter_1", "mlp", inner, vision.count("projector_input_dim"), "column")
    out = vision.count("projector_output_dim")
    sheet.matrix("adapter_2", "mlp", out, out, "row")
    return n_patches * vision.count("max_tiles", 1)


def _mllama(vision: Config, sheet: Sheet) -> int:
    width, n_patches, (n_layers, inner) = (
        _patches(vision, sheet, bias=False),
        _square(vision),
        _layers(vision),
    )
    n_tiles = vision.count("max_num_tiles")
    ratios = vision.get("supported_aspect_ratios")
    n_ratios = 1 + (len(ratios) if isinstance(ratios, (list, tuple)) else 8)
    sheet.vector("class_embd", width)
    sheet.table("position_embd", n_patches + 1, width)
    sheet.table("tile_position_embd", n_ratios, n_tiles * (n_patches + 1) * width)
    for name in ("pre_tile_position_embd", "post_tile_position_embd"):
        sheet.table(name, n_ratios, n_tiles * width)
    sheet.times(3).vector("position_gate", 1)
    n_global = vision.count("num_global_layers")
    layers = sheet.times(n_layers + n_global)
    Attention("full", 1, 1, width, width).write(layers, width)
    Dense(inner, is_gated=False, bias=True).write(layers, width)
    layers.norm("attn_norm", width, "layer")
    layers.norm("ffn_norm", width, "layer")
    sheet.times(2 * n_global).vector("layer_gate", 1)
    sheet.norm("pre_norm", width, "layer")
    sheet.norm("post_norm", width, "layer")
    return n_tiles * (n_patches + 1)


def _qwen_patches(vision: Config, sheet: Sheet, width: int, *, bias: bool) -> int:
    """Write the patch embedding of a Qwen tower; return the patches of the largest image."""
    patch = vision.count("patch_size", least=1)
    taps = vision.count("temporal_patch_size") * patch**2
    sheet.conv("patch_embd", vision.count("in_channels"), width, taps, bias=bias)
    return vision.count("max_pixels", 0) // patch**2


def _merger(vision: Config, sheet: Sheet, width: int, n_out: int, norm: str, norm_size: int = 0) -> None:
    """Write what makes one feature of several patches: a norm and two matrices."""
    merged = width * vision.count("spatial_merge_size", least=1) ** 2
    sheet.norm("merger_norm", norm_size or width, norm)
    sheet.matrix("mm_0", "mlp", merged, merged, "column", bias=True)
    sheet.matrix("mm_2", "mlp", merged, n_out, "row", bias=True)


def _qwen2(vision: Config, sheet: Sheet) -> int:
    width = vision.count("embed_dim", least=1)  # here the hidden size is that of the language model
    n_patches = _qwen_patches(vision, sheet, width, bias=False)
    write_layer(sheet.times(vision.count("depth")), width, vision.count("mlp_ratio") * width)
    _merger(vision, sheet, width, vision.count("hidden_size"), "layer")
    return n_patches


def _qwen2_5(vision: Config, sheet: Sheet) -> int:
    width, inner = vision.count("hidden_size", least=1), vision.count("intermediate_size")
    n_patches = _qwen_patches(vision, sheet, width, bias=False)
    write_layer(sheet.times(vision.count("depth")), width, inner, norm="rms", is_gated=True)
    _merger(vision, sheet, width, vision.count("out_hidden_size"), "rms")
    return n_patches


def _qwen3(vision: Config, sheet: Sheet) -> int:
    width, n_out = vision.count("hidden_size", least=1), vision.count("out_hidden_size")
    n_patches = _qwen_patches(vision, sheet, width, bias=True)
    sheet.table("position_embd", vision.count("num_position_embeddings"), width)
    write_layer(sheet.times(vision.count("depth")), width, vision.count("intermediate_size"))
    _merger(vision, sheet, width, n_out, "layer")
    # Some layers also feed the language model's first layers, each through a merger of its own.
    deep = sheet.times(len(vision.numbers("deepstack_visual_indexes")))
    merged = width * vision.count("spatial_merge_size", least=1) ** 2
    _merger(vision, deep, width, n_out, "layer", merged)
    return n_patches


def _kimi(vision: Config, sheet: Sheet) -> int:
    def number(name: str) -> int:
        return vision.count(f"vt_{name}", vision.count(name))

    width, patch = number("hidden_size"), vision.count("patch_size", least=1)
    n_places = vision.count("init_pos_emb_height") * vision.count("init_pos_emb_width")
    sheet.conv("patch_embd", 3, width, patch**2)
    sheet.table("position_embd", n_places, width)
    write_layer(sheet.times(number("num_hidden_layers")), width, number("intermediate_size"))
    sheet.norm("post_norm", width, "layer")
    return n_places


def _glm4v(vision: Config, sheet: Sheet) -> int:
    width, n_out = vision.count("hidden_size", least=1), vision.count("out_hidden_size")
    n_patches = _qwen_patches(vision, sheet, width, bias=True)
    sheet.table("position_embd", _square(vision), width)
    bias = vision.flag("attention_bias")
    # A block is as wide as what the tower hands on; the stated inner width is the merger's.
    write_layer(sheet.times(vision.count("depth")), width, n_out, norm="rms", is_gated=True, bias=bias)
    sheet.norm("post_conv_norm", width)
    sheet.norm("post_norm", width)
    sheet.conv("downsample", width, n_out, vision.count("spatial_merge_size", least=1) ** 2)
    sheet.matrix("merger_proj", "mlp", n_out, n_out)
    sheet.norm("merger_norm", n_out, "layer")
    Dense(vision.count("intermediate_size")).write(sheet, n_out)
    return n_patches


def _gemma4(vision: Config, sheet: Sheet) -> int:
    width, head_dim = vision.count("hidden_size", least=1), vision.count("head_dim")
    n_heads, patch = vision.count("num_attention_heads"), vision.count("patch_size")
    n_layers, inner = _layers(vision)
    sheet.times(2).table("position_embd", vision.count("position_embedding_size"), width)
    sheet.conv("patch_embd", 3, width, patch**2, bias=False)
    layers = sheet.times(n_layers)
    bias, n_kv_heads = vision.flag("attention_bias"), vision.count("num_key_value_heads", n_heads)
    attention = Attention(
        "full", n_heads, n_kv_heads, head_dim, head_dim, qkv_bias=bias, output_bias=bias, head_norms="head"
    )
    attention.write(layers, width)
    Dense(inner).write(layers, width)
    for name in ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"):
        layers.norm(name, width)
    # Pooling leaves one token of 3 x 3 patches; the config states the tokens.
    return vision.count("default_output_length", 280) * vision.count("pooling_kernel_size", 3) ** 2


TOWERS: Mapping[str, Callable[[Config, Sheet], int]] = {
    "clip": _clip,
    "dinov2": _dinov2,
    "gemma4": _gemma4,
    "glm4v": _glm4v,
    "internvl": _internvl,
    "kimi": _kimi,
    "llama4_vision": _llama4,
    "mllama_vision": _mllama,
    "pixtral": _pixtral,
    "qwen2": _qwen2,
    "qwen2_5": _qwen2_5,
    "qwen3": _qwen3,
    "siglip": _siglip,
    "siglip2": _siglip2,
    "vit": _vit,
}
"""What writes a tower, by the reader of its family; it returns the most patches of one image."""
