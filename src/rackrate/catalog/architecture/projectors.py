"""What joins a tower's features to a language model.

Source: the `...MultiModalProjector` classes of transformers 5.23 that each function names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.sheet import Sheet


def _once(vision: Config, _: Config, sheet: Sheet, text_width: int) -> None:
    """Write one projection without a bias after a norm (`Gemma3`)."""
    width = vision.count("hidden_size")
    sheet.vector("mm_soft_emb_norm", width)
    sheet.matrix("mm_input_projection", "mlp", width, text_width)


def _plain(vision: Config, _: Config, sheet: Sheet, text_width: int) -> None:
    """Write one projection without a bias (`Gemma4`)."""
    sheet.matrix("mm_input_projection", "mlp", vision.count("hidden_size"), text_width)


def _biased(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write one projection with a bias (`PaliGemma`)."""
    n_out = vision.count("projection_dim", top.count("projection_dim", text_width))
    sheet.matrix("mm_input_projection", "mlp", vision.count("hidden_size"), n_out, bias=True)


def _llama4(vision: Config, _: Config, sheet: Sheet, text_width: int) -> None:
    """Write one projection of the adapter's features (`Llama4`)."""
    sheet.matrix("mm_model_fc", "mlp", vision.count("vision_output_dim"), text_width)


def _mllama(vision: Config, _: Config, sheet: Sheet, text_width: int) -> None:
    """Write one projection of the last features beside those of some layers (`Mllama`)."""
    n_taken = len(vision.numbers("intermediate_layers_indices"))
    width = vision.count("vision_output_dim", (1 + n_taken) * vision.count("hidden_size"))
    sheet.matrix("mm_model_fc", "mlp", width, text_width, bias=True)


def _twice(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write two layers; the features of several layers of the tower may come together (`Llava`)."""
    taken, bias = top.get("vision_feature_layer"), top.flag("multimodal_projector_bias", otherwise=True)
    n_taken = len(taken) if isinstance(taken, (list, tuple)) else 1
    sheet.matrix("mm_1", "mlp", n_taken * vision.count("hidden_size"), text_width, "column", bias=bias)
    sheet.matrix("mm_2", "mlp", text_width, text_width, "row", bias=bias)


def _tiles(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write two layers and, among the words, the vector that ends a row of tiles (`LlavaNext`)."""
    _twice(vision, top, sheet, text_width)
    Sheet(tensors=sheet.tensors).vector("image_newline", text_width)


def _mistral3(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write a norm, a merger of patches and two layers (`Mistral3`)."""
    width, merge = vision.count("hidden_size"), top.count("spatial_merge_size", least=1)
    bias = top.flag("multimodal_projector_bias")
    sheet.norm("mm_input_norm", width)
    sheet.matrix("mm_patch_merger", "mlp", width * merge**2, width)
    sheet.matrix("mm_1", "mlp", width, text_width, "column", bias=bias)
    sheet.matrix("mm_2", "mlp", text_width, text_width, "row", bias=bias)


def _internvl(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write a norm over patches shuffled together and two layers (`InternVL`)."""
    ratio = top.get("downsample_ratio", 0.5)
    merge = round(1 / ratio) if isinstance(ratio, (int, float)) and ratio > 0 else 2
    merged = vision.count("hidden_size") * merge**2
    sheet.norm("mm_0", merged, "layer")
    sheet.matrix("mm_1", "mlp", merged, text_width, "column", bias=True)
    sheet.matrix("mm_2", "mlp", text_width, text_width, "row", bias=True)


def _idefics3(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write one projection of patches shuffled together (`Idefics3`, `SmolVLM`)."""
    merged = vision.count("hidden_size") * top.count("scale_factor", 2) ** 2
    sheet.matrix("mm_model_fc", "mlp", merged, text_width)


def _halved(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write two layers over shuffled patches, a gate halving what is between them (`Cohere2Vision`)."""
    merged = vision.count("hidden_size") * top.count("downsample_factor", 2) ** 2
    inner = top.count("alignment_intermediate_size", least=2)
    sheet.matrix("mm_1", "mlp", merged, inner, "column", bias=True)
    sheet.matrix("mm_2", "mlp", inner // 2, text_width, "row", bias=True)


def _aya(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write the same behind a norm (`AyaVision`)."""
    merged = vision.count("hidden_size") * top.count("downsample_factor", 2) ** 2
    inner = top.count("alignment_intermediate_size", text_width, least=2)
    sheet.norm("mm_0", merged, "layer")
    sheet.matrix("mm_1", "mlp", merged, inner, "column", bias=True)
    sheet.matrix("mm_2", "mlp", inner // 2, text_width, "row", bias=True)


def _lfm2(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write two layers over shuffled patches, behind a norm unless a switch says otherwise (`Lfm2Vl`)."""
    merged = vision.count("hidden_size") * top.count("downsample_factor", 2) ** 2
    inner, bias = top.count("projector_hidden_size", text_width), top.flag("projector_bias", otherwise=True)
    if top.flag("projector_use_layernorm", otherwise=True):
        sheet.norm("mm_0", merged, "layer")
    sheet.matrix("mm_1", "mlp", merged, inner, "column", bias=bias)
    sheet.matrix("mm_2", "mlp", inner, text_width, "row", bias=bias)


def _vip(vision: Config, top: Config, sheet: Sheet, text_width: int) -> None:
    """Write a norm over the features of several layers, then two layers (`VipLlava`)."""
    taken = top.get("vision_feature_layer")
    n_taken = len(taken) if isinstance(taken, (list, tuple)) else 1
    sheet.norm("mm_0", n_taken * vision.count("hidden_size"), "layer")
    _twice(vision, top, sheet, text_width)


def _kimi(vision: Config, _: Config, sheet: Sheet, text_width: int) -> None:
    """Write a norm and two layers over 2 x 2 patches (`Kimi_K25`)."""
    width = vision.count("mm_hidden_size", vision.count("vt_hidden_size", vision.count("hidden_size")))
    kernel = vision.numbers("merge_kernel_size") or [2, 2]
    merged = width * kernel[0] * kernel[-1]
    sheet.norm("mm_0", width, "layer")
    sheet.matrix("mm_1", "mlp", merged, merged, "column", bias=True)
    sheet.matrix("mm_2", "mlp", merged, text_width, "row", bias=True)


PROJECTORS: Mapping[str, Callable[[Config, Config, Sheet, int], None]] = {
    "aya": _aya,
    "biased": _biased,
    "halved": _halved,
    "idefics3": _idefics3,
    "internvl": _internvl,
    "kimi": _kimi,
    "lfm2": _lfm2,
    "llama4": _llama4,
    "mistral3": _mistral3,
    "mllama": _mllama,
    "once": _once,
    "plain": _plain,
    "tiles": _tiles,
    "twice": _twice,
    "vip": _vip,
}
"""What joins a tower to a language model of the given width, by the word in the family's file."""
