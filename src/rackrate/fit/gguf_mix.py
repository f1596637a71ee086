"""Which ggml type llama.cpp gives each tensor of a GGUF file: `Q4_K_M` is a recipe, not a width.

A recipe names a type for most matrices and larger ones where precision hurts: the output matrix, the
value projection and the down projection, the latter in the first and last eighth of the layers and
every third between. Read from llama.cpp's `llama_tensor_get_type` (src/llama-quant.cpp, 2024-2026);
what an importance matrix adds is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

MANY_QUERIES = 4  # query heads a key head from which the value projection is cheap to keep precise
_FEW_LAYERS = 4


def _better(layer: int, n_layers: int) -> bool:
    """Tell whether a layer is one of those that get more bits."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2  # noqa: PLR2004


def _first_eighth(layer: int, n_layers: int) -> bool:
    return layer < n_layers // 8


def _first_sixteenth(layer: int, n_layers: int) -> bool:
    return layer < n_layers // 16


def _first_few(layer: int, _: int) -> bool:
    return layer < _FEW_LAYERS


def _first_two(layer: int, _: int) -> bool:
    return layer < 2  # noqa: PLR2004


def _every(_layer: int, _n_layers: int) -> bool:
    return True


Where = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which type a tensor gets.

    Attributes:
        base: the type of most matrices, the embedding among them.
        output: of the matrix to the vocabulary, and of the embedding where it is tied to it.
        value: of the value projection: (type, in which layers), the first that holds.
        down: of the down projection, likewise.
        out: of the attention's output projection.
    """

    base: str
    output: str = "Q6_K"
    value: tuple[tuple[str, Where], ...] = ()
    down: tuple[tuple[str, Where], ...] = ()
    out: str = ""


RECIPES: Mapping[str, Recipe] = {
    "f32": Recipe("fp32", output="fp32"),
    "f16": Recipe("fp16", output="fp16"),
    "bf16": Recipe("bf16", output="bf16"),
    "q8_0": Recipe("Q8_0", output="Q8_0"),
    "q6_k": Recipe("Q6_K"),
    "q5_k_m": Recipe("Q5_K", value=(("Q6_K", _better),), down=(("Q6_K", _better),)),
    "q5_k_s": Recipe("Q5_K"),
    "q4_k_m": Recipe("Q4_K", value=(("Q6_K", _better),), down=(("Q6_K", _better),)),
    "q4_k_s": Recipe("Q4_K", value=(("Q5_K", _first_few),), down=(("Q5_K", _first_eighth),)),
    "q3_k_l": Recipe("Q3_K", value=(("Q5_K", _every),), down=(("Q5_K", _every),), out="Q5_K"),
    "q3_k_m": Recipe(
        "Q3_K",
        value=(("Q5_K", _first_two), ("Q4_K", _every)),
        down=(("Q5_K", _first_sixteenth), ("Q4_K", _every)),
        out="Q4_K",
    ),
    "q3_k_s": Recipe("Q3_K"),
    "q2_k": Recipe("Q2_K", value=(("Q3_K", _every),), down=(("Q3_K", _every),), out="Q3_K"),
    "q5_0": Recipe("Q5_0"),
    "q5_1": Recipe("Q5_1"),
    "q4_0": Recipe("Q4_0"),
    "q4_1": Recipe("Q4_1"),
    "iq4_nl": Recipe("IQ4_NL"),
    "iq4_xs": Recipe("IQ4_XS", value=(("Q5_K", _first_few),), down=(("Q5_K", _first_eighth),)),
    "iq3_s": Recipe("IQ3_S"),
    "iq3_xxs": Recipe("IQ3_XXS", output="Q5_K"),
    "iq2_s": Recipe("IQ2_S", output="Q5_K"),
    "iq2_xs": Recipe("IQ2_XS", output="Q5_K"),
    "iq2_xxs": Recipe("IQ2_XXS", output="Q5_K"),
    "mxfp4": Recipe("Q8_0", output="Q8_0"),
}
"""Recipes by the name that file names carry."""

_VALUE = ("attn_v", "attn_qkv")
_K_QUANTS = ("Q2_K", "Q3_K", "Q4_K")


def types_of(recipe: Recipe, name: str, n_layers: int, queries_per_key: float) -> dict[str, int]:
    """Return the types that the layers' tensors of one name get, with the number of layers of each.

    Args:
        recipe: from `RECIPES`.
        name: of the tensor, in the words of GGUF.
        n_layers: layers that have it.
        queries_per_key: query heads for one key head.
    """
    counts: dict[str, int] = {}
    for layer in range(n_layers):
        kind = _type(recipe, name, layer, n_layers)
        if name == "attn_v" and queries_per_key >= 2 * MANY_QUERIES and kind in _K_QUANTS[1:]:
            kind = "Q5_K"  # the 70B shape: the value projection is shared by 8 heads and tiny
        elif name == "attn_v" and queries_per_key >= MANY_QUERIES and recipe.base == "Q2_K":
            kind = "Q4_K"
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _type(recipe: Recipe, name: str, layer: int, n_layers: int) -> str:
    if name in _VALUE:
        choices = recipe.value
    elif name.startswith("ffn_down"):
        choices = recipe.down
    else:
        choices = ()
    for kind, where in choices:
        if where(layer, n_layers):
            return kind
    return recipe.out if recipe.out and name == "attn_output" else recipe.base
