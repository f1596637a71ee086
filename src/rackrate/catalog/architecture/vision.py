"""Towers that turn an image into tokens, and what joins them to the language model.

    siglip, clip     patches of one square image; places are looked up; a classic encoder; SigLIP may
                     pool its patches by a head
    qwen2.5-vl       patches of any image; RMSNorms, gated blocks; a merger of 2 x 2 patches
    qwen3-vl         patches of any image; LayerNorms; a merger

Source: `SiglipVisionModel`, `CLIPVisionModel`,
`Qwen2_5_VisionTransformerPretrainedModel`, `Qwen3_5VisionModel` of transformers 5.23.
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


def _siglip(vision: Config, sheet: Sheet) -> int:
    width, n_patches = vision.count("hidden_size", least=1), _square(vision)
    sheet.conv("patch_embd", vision.count("num_channels"), width, vision.count("patch_size") ** 2)
    sheet.table("position_embd", n_patches, width)
    layers = sheet.times(vision.count("num_hidden_layers"))
    write_layer(layers, width, vision.count("intermediate_size"))
    sheet.norm("post_norm", width, "layer")
    if vision.flag("vision_use_head"):  # pools the patches by one more layer with a learned query
        sheet.vector("head_probe", width)
        Attention("full", 1, 1, width, width, qkv_bias=True, output_bias=True).write(sheet, width)
        Dense(vision.count("intermediate_size"), is_gated=False, bias=True).write(sheet, width)
        sheet.norm("head_norm", width, "layer")
    return n_patches


def _clip(vision: Config, sheet: Sheet) -> int:
    width, n_patches = vision.count("hidden_size", least=1), _square(vision)
    taps = vision.count("patch_size") ** 2
    sheet.conv("patch_embd", vision.count("num_channels"), width, taps, bias=False)
    sheet.vector("class_embd", width)
    sheet.table("position_embd", n_patches + 1, width)
    layers = sheet.times(vision.count("num_hidden_layers"))
    write_layer(layers, width, vision.count("intermediate_size"))
    sheet.norm("pre_norm", width, "layer")
    sheet.norm("post_norm", width, "layer")
    return n_patches


def _qwen_patches(vision: Config, sheet: Sheet, *, bias: bool) -> int:
    """Write the patch embedding of a Qwen tower; return the patches of the largest image."""
    patch = vision.count("patch_size", least=1)
    taps = vision.count("temporal_patch_size") * patch**2
    sheet.conv("patch_embd", vision.count("in_channels"), vision.count("hidden_size"), taps, bias=bias)
    return vision.count("max_pixels", 0) // patch**2


def _qwen_merger(vision: Config, sheet: Sheet, norm: str) -> None:
    width = vision.count("hidden_size", least=1)
    merged = width * vision.count("spatial_merge_size", least=1) ** 2
    sheet.norm("merger_norm", width, norm)
    sheet.matrix("mm_0", "mlp", merged, merged, "column", bias=True)
    sheet.matrix("mm_2", "mlp", merged, vision.count("out_hidden_size"), "row", bias=True)


def _qwen2_5_vl(vision: Config, sheet: Sheet) -> int:
    n_patches = _qwen_patches(vision, sheet, bias=False)
    layers = sheet.times(vision.count("depth"))
    inner = vision.count("intermediate_size")
    write_layer(layers, vision.count("hidden_size"), inner, norm="rms", is_gated=True)
    _qwen_merger(vision, sheet, "rms")
    return n_patches


def _qwen3_5(vision: Config, sheet: Sheet) -> int:
    width = vision.count("hidden_size", least=1)
    n_patches = _qwen_patches(vision, sheet, bias=True)
    sheet.table("position_embd", vision.count("num_position_embeddings"), width)
    write_layer(sheet.times(vision.count("depth")), width, vision.count("intermediate_size"))
    _qwen_merger(vision, sheet, "layer")
    return n_patches


TOWERS: Mapping[str, Callable[[Config, Sheet], int]] = {
    "siglip": _siglip,
    "clip": _clip,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_5": _qwen3_5,
}
"""What writes a tower, by the reader of its family; it returns the most patches of one image."""


def _project_once(vision: Config, sheet: Sheet, text_width: int) -> None:
    """Write a norm and one projection (`Gemma3MultiModalProjector`)."""
    width = vision.count("hidden_size")
    sheet.vector("mm_soft_emb_norm", width)
    sheet.matrix("mm_input_projection", "mlp", width, text_width)


def _project_twice(vision: Config, sheet: Sheet, text_width: int) -> None:
    """Write two layers with biases (`LlavaMultiModalProjector`)."""
    sheet.matrix("mm_1", "mlp", vision.count("hidden_size"), text_width, "column", bias=True)
    sheet.matrix("mm_2", "mlp", text_width, text_width, "row", bias=True)


def _project_tiles(vision: Config, sheet: Sheet, text_width: int) -> None:
    """Write two layers and, among the words, the vector that ends a row of tiles (`LlavaNextModel`)."""
    _project_twice(vision, sheet, text_width)
    Sheet(tensors=sheet.tensors).vector("image_newline", text_width)


PROJECTORS: Mapping[str, Callable[[Config, Sheet, int], None]] = {
    "once": _project_once,
    "twice": _project_twice,
    "tiles": _project_tiles,
}
"""What joins a tower to a language model of the given width, by the word in the family's file."""
