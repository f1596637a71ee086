"""Tensors that one family alone has, beside those of every decoder.

    gemma3n   an embedding a layer, alternating updates (AltUp), a low-rank branch (LAuReL)
    gemma4    an embedding a layer; norms and scales of the experts beside the dense block
    apertus   two numbers of its activation
    deberta   a table of distances between tokens, a convolution; in the first version projections of them
    mpnet     a table of distances
    rwkv      a norm of the embedding
    longformer  a second query, key and value for the tokens that all look at
    mllama    gates of the layers that attend to the image, eight tokens beyond the vocabulary

Source: `Gemma3nTextModel`, `Gemma4TextModel`, `ApertusMLP`, `MllamaTextModel`, `DebertaEncoder`,
`DebertaV2Encoder`, `MPNetEncoder`, `LongformerSelfAttention` of transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.sheet import Sheet


def _layer_inputs(config: Config, sheet: Sheet, width: int, n_layers: int) -> None:
    """Write an embedding of each token for each layer, and how it enters the layer."""
    size = config.count("hidden_size_per_layer_input", 0)
    if not size:
        return
    sheet.table("per_layer_token_embd", config.count("vocab_size_per_layer_input"), n_layers * size, "vocab")
    sheet.matrix("per_layer_model_proj", "mlp", width, n_layers * size)
    sheet.vector("per_layer_proj_norm", size)
    layers = sheet.times(n_layers)
    layers.matrix("inp_gate", "mlp", width, size)
    layers.matrix("proj", "mlp", size, width)
    layers.vector("post_norm", width)


def _gemma3n(config: Config, sheet: Sheet, width: int, n_layers: int) -> None:
    _layer_inputs(config, sheet, width, n_layers)
    layers, n_streams, rank = (
        sheet.times(n_layers),
        config.count("altup_num_inputs"),
        config.count("laurel_rank"),
    )
    layers.vector("altup_correct_scale", width)
    layers.matrix("altup_correct_coef", "mlp", n_streams, n_streams)
    layers.matrix("altup_predict_coef", "mlp", n_streams, n_streams**2)
    layers.matrix("altup_router", "router", width, n_streams)
    layers.vector("altup_router_norm", width)
    layers.matrix("laurel_l", "mlp", width, rank)
    layers.matrix("laurel_r", "mlp", rank, width)
    layers.vector("laurel_post_norm", width)
    streams = sheet.times(max(n_streams - 1, 0))
    streams.matrix("altup_proj", "mlp", width, width)
    streams.matrix("altup_unembd_proj", "mlp", width, width)


def _gemma4(config: Config, sheet: Sheet, width: int, n_layers: int) -> None:
    _layer_inputs(config, sheet, width, n_layers)
    if config.flag("enable_moe_block"):
        layers = sheet.times(n_layers)
        for name in ("ffn_post_norm_1", "ffn_post_norm_2", "ffn_pre_norm_2", "ffn_gate_inp_scale"):
            layers.vector(name, width)
        layers.vector("ffn_exps_scale", config.count("num_experts"))


def _apertus(_: Config, sheet: Sheet, __: int, n_layers: int) -> None:
    sheet.times(n_layers).vector("xielu_alpha_p", 1)
    sheet.times(n_layers).vector("xielu_alpha_n", 1)


def _mllama(config: Config, sheet: Sheet, width: int, _: int) -> None:
    crosses = sheet.times(len(config.numbers("cross_attention_layers")))
    crosses.vector("cross_attn_gate", 1)
    crosses.vector("cross_ffn_gate", 1)
    sheet.table("image_token_embd", 8, width, "vocab")


def _deberta(config: Config, sheet: Sheet, width: int, n_layers: int) -> None:
    """Write the table of distances, its norm, its projections where they are not those of the tokens."""
    if config.flag("relative_attention"):
        buckets, farthest = (config.get(name) for name in ("position_buckets", "max_relative_positions"))
        n_places = next((n for n in (buckets, farthest) if isinstance(n, int) and n > 0), 0)
        sheet.table("rel_embd", 2 * (n_places or config.count("max_position_embeddings")), width)
        if not config.flag("share_att_key"):
            asked = str(config.get("pos_att_type", ""))
            for name in ("c2p", "p2c"):
                projections = sheet.times(n_layers if name in asked else 0)
                projections.matrix(f"attn_{name}", "attention", width, width, "column", bias=True)
    if "layer_norm" in config.text("norm_rel_ebd"):
        sheet.norm("rel_embd_norm", width, "layer")
    taps = config.count("conv_kernel_size", 0)
    if taps:
        sheet.conv("conv", width, width, taps)
        sheet.norm("conv_norm", width, "layer")


def _deberta_1(config: Config, sheet: Sheet, width: int, n_layers: int) -> None:
    """Write biases of query and value alone, the table of distances, what projects it in each layer."""
    layers = sheet.times(n_layers)
    layers.times(2).vector("attn_qv_bias", width)
    if not config.flag("relative_attention"):
        return
    farthest = config.get("max_relative_positions")
    n_places = (
        farthest if isinstance(farthest, int) and farthest > 0 else config.count("max_position_embeddings")
    )
    sheet.table("rel_embd", 2 * n_places, width)
    asked = str(config.get("pos_att_type", ""))
    if "c2p" in asked:
        layers.matrix("attn_c2p", "attention", width, width, "column")
    if "p2c" in asked:
        layers.matrix("attn_p2c", "attention", width, width, "column", bias=True)


def _longformer(_: Config, sheet: Sheet, width: int, n_layers: int) -> None:
    for name in ("attn_q_global", "attn_k_global", "attn_v_global"):
        sheet.times(n_layers).matrix(name, "attention", width, width, "column", bias=True)


def _rwkv(_: Config, sheet: Sheet, width: int, __: int) -> None:
    sheet.norm("token_embd_norm", width, "layer")


def _mpnet(config: Config, sheet: Sheet, _: int, __: int) -> None:
    n_heads = config.count("num_attention_heads")
    sheet.table("attn_rel_b", config.count("relative_attention_num_buckets"), n_heads)


EXTRAS: Mapping[str, Callable[[Config, Sheet, int, int], None]] = {
    "gemma3n": _gemma3n,
    "gemma4": _gemma4,
    "apertus": _apertus,
    "deberta": _deberta,
    "deberta_1": _deberta_1,
    "longformer": _longformer,
    "mllama": _mllama,
    "mpnet": _mpnet,
    "rwkv": _rwkv,
}
"""What writes them, by the word in the family's file."""
