"""Which ggml type llama.cpp gives each tensor of a GGUF file: `Q4_K_M` is a recipe, not a width.

A recipe names a type for most matrices and larger ones where precision hurts: the output matrix, the
value projection and the down projection, the latter in the first and last eighth of the layers and
every third between. The shape of the model has a say: key heads that many query heads share, 80 layers
and eight experts get more bits where those cost little.

Source: the rules of `llama_tensor_get_type_impl` (llama.cpp, src/llama-quant.cpp @007dbbf3). Files of
the i-quants are taken as made with an importance matrix, as those that are published are.
Error: 21 recipes of Llama-3.1-8B within 0.01 % of llama.cpp's own table, Mixtral, Qwen2 and Falcon
within half of the last digit of their published sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

MANY_QUERIES = 4  # query heads a key head from which the value projection is cheap to keep precise
EIGHT_EXPERTS = 8  # Mixtral's number: its attention is a small part of the file
SOME_EXPERTS = 4
DEEP = 80  # layers of the models that llama.cpp calls 70B


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides between types.

    Attributes:
        n_layers: of the main stack.
        queries_per_key: query heads for one key head.
        n_experts: routed experts a layer; 0 when dense.
        is_falcon: whether it is of the Falcon family, which has rules of its own.
    """

    n_layers: int
    queries_per_key: float
    n_experts: int = 0
    is_falcon: bool = False


Where = Callable[[int, Shape], bool]


def _better(layer: int, shape: Shape) -> bool:
    """Tell whether a layer is one of those that get more bits."""
    eighth = shape.n_layers // 8
    return layer < eighth or layer >= 7 * shape.n_layers // 8 or (layer - eighth) % 3 == 2  # noqa: PLR2004


def _first_eighth(layer: int, shape: Shape) -> bool:
    return layer < shape.n_layers // 8


def _first_sixteenth(layer: int, shape: Shape) -> bool:
    return layer < shape.n_layers // 16


def _middle(layer: int, shape: Shape) -> bool:
    return shape.n_layers // 8 <= layer < 7 * shape.n_layers // 8


def _first_few(layer: int, _: Shape) -> bool:
    return layer < 4  # noqa: PLR2004


def _first_two(layer: int, _: Shape) -> bool:
    return layer < 2  # noqa: PLR2004


def _every(_layer: int, _: Shape) -> bool:
    return True


def _many_queries(_layer: int, shape: Shape) -> bool:
    return shape.queries_per_key >= MANY_QUERIES


def _shared_values(_layer: int, shape: Shape) -> bool:
    return shape.queries_per_key >= MANY_QUERIES or shape.n_experts >= SOME_EXPERTS


def _dense(_layer: int, shape: Shape) -> bool:
    return not shape.is_falcon


def _dense_early(layer: int, shape: Shape) -> bool:
    return not shape.is_falcon and _first_eighth(layer, shape)


def _dense_better(layer: int, shape: Shape) -> bool:
    return not shape.is_falcon and _better(layer, shape)


def _falcon_first(layer: int, shape: Shape) -> bool:
    return shape.is_falcon and _first_sixteenth(layer, shape)


def _falcon_better(layer: int, shape: Shape) -> bool:
    return shape.is_falcon and _better(layer, shape)


def _early_or_eight(layer: int, shape: Shape) -> bool:
    return _first_eighth(layer, shape) or (shape.n_experts == EIGHT_EXPERTS and _better(layer, shape))


Choices = tuple[tuple[str, Where], ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which type a tensor gets.

    Attributes:
        base: the type of most matrices.
        output: of the matrix to the vocabulary, and of the embedding where it is tied to it.
        embedding: of the embedding; empty for `base`.
        value: of the value projection: (type, in which layers), the first that holds.
        down: of the down projection, likewise.
        wide: of the gate and up projections, likewise.
        keys: of the key and query projections; empty for `base`.
        out: of the attention's output projection; empty for `base`.
        fused: of query, key and value in one matrix, as files had it until 2026; empty for `base`.
        eight_values: of value and key projection in a model of eight experts; empty for no exception.
        eight_out: of the output projection there.
        is_deepened: whether 80 layers raise narrow value projections.
    """

    base: str
    output: str = "Q6_K"
    embedding: str = ""
    value: Choices = ()
    down: Choices = ()
    wide: Choices = ()
    keys: str = ""
    out: str = ""
    fused: str = ""
    eight_values: str = "Q8_0"
    eight_out: str = "Q5_K"
    is_deepened: bool = True


def _plain(base: str) -> Recipe:
    """Return the recipe of a wide type: nothing but the output matrix is an exception."""
    return Recipe(base, output=base, eight_values="", eight_out="", is_deepened=False)


def _two_bit(base: str, raised: str, *, embedding: str = "", out: str = "") -> Recipe:
    """Return the recipe of an i-quant of two bits or less, which raises some matrices to `raised`."""
    return Recipe(
        base,
        output="Q5_K",
        embedding=embedding or raised,
        value=(("Q4_K", _shared_values), (raised, _every)),
        down=((raised, _first_eighth),),
        out=out,
        eight_values="Q4_K",
        is_deepened=False,
    )


RECIPES: Mapping[str, Recipe] = {
    "f32": _plain("fp32"),
    "f16": _plain("fp16"),
    "bf16": _plain("bf16"),
    "q8_0": Recipe("Q8_0", output="Q8_0", eight_out=""),
    "q6_k": Recipe("Q6_K", eight_out=""),
    "q5_k_m": Recipe(
        "Q5_K", value=(("Q6_K", _better),), down=(("Q6_K", _better),), fused="Q6_K", eight_out=""
    ),
    "q5_k_s": Recipe("Q5_K", eight_out=""),
    "q4_k_m": Recipe(
        "Q4_K",
        value=(("Q6_K", _better),),
        down=(("Q6_K", _dense_better), ("Q6_K", _falcon_first), ("Q5_K", _falcon_better)),
        fused="Q5_K",
    ),
    "q4_k_s": Recipe("Q4_K", value=(("Q5_K", _first_few),), down=(("Q5_K", _dense_early),)),
    "q3_k_l": Recipe(
        "Q3_K",
        value=(("Q5_K", _every),),
        down=(("Q5_K", _dense), ("Q4_K", _every)),
        out="Q5_K",
        fused="Q4_K",
        eight_out="Q3_K",
    ),
    "q3_k_m": Recipe(
        "Q3_K",
        value=(("Q5_K", _first_two), ("Q4_K", _every)),
        down=(("Q5_K", _first_sixteenth), ("Q4_K", _dense), ("Q4_K", _better)),
        out="Q4_K",
        fused="Q4_K",
    ),
    "q3_k_s": Recipe("Q3_K"),
    "q2_k": Recipe(
        "Q2_K", value=(("Q4_K", _many_queries), ("Q3_K", _every)), down=(("Q3_K", _every),), out="Q3_K"
    ),
    "q2_k_s": Recipe(
        "Q2_K", value=(("Q4_K", _many_queries),), down=(("Q4_K", _first_eighth),), eight_out="Q2_K"
    ),
    "q5_0": Recipe("Q5_0", eight_out=""),
    "q5_1": Recipe("Q5_1", eight_out=""),
    "q4_0": Recipe("Q4_0", eight_out=""),
    "q4_1": Recipe("Q4_1", eight_out=""),
    "iq4_nl": Recipe("IQ4_NL", value=(("Q5_K", _many_queries),), down=(("Q5_K", _first_eighth),)),
    "iq4_xs": Recipe("IQ4_XS", value=(("Q5_K", _many_queries),), down=(("Q5_K", _first_eighth),)),
    "iq3_m": Recipe(
        "IQ3_S", value=(("Q4_K", _every),), down=(("Q4_K", _early_or_eight),), out="Q4_K", fused="Q4_K"
    ),
    "iq3_s": Recipe("IQ3_S", value=(("Q4_K", _many_queries),)),
    "iq3_xs": Recipe("IQ3_S", value=(("Q4_K", _many_queries),), wide=(("IQ3_XXS", _middle),), keys="IQ3_XXS"),
    "iq3_xxs": Recipe(
        "IQ3_XXS",
        output="Q5_K",
        embedding="IQ3_S",
        value=(("Q4_K", _many_queries),),
        keys="IQ2_S",
        out="IQ3_S",
    ),
    "iq2_m": _two_bit("IQ2_S", "IQ3_S", out="IQ3_S"),
    "iq2_s": _two_bit("IQ2_XS", "IQ3_S", out="IQ3_S"),
    "iq2_xs": _two_bit("IQ2_XS", "Q2_K"),
    "iq2_xxs": _two_bit("IQ2_XXS", "Q2_K"),
    "iq1_m": _two_bit("IQ1_M", "Q2_K", out="IQ2_XXS"),
    "iq1_s": _two_bit("IQ1_S", "Q2_K", out="IQ2_XXS"),
    "mxfp4": _plain("Q8_0"),
}
"""Recipes by the name that file names carry."""

FUSED = "fused attn_qkv"
"""Query, key and value projections of a family whose files hold them as one."""

_VALUES = ("attn_v", "attn_qkv", "attn_kv_b")
_RAISED_WHEN_DEEP = ("Q3_K", "Q4_K")


def types_of(recipe: Recipe, name: str, n_layers: int, shape: Shape) -> dict[str, int]:
    """Return the types that the layers' tensors of one name get, with the number of layers of each.

    Args:
        recipe: from `RECIPES`.
        name: of the tensor, in the words of GGUF.
        n_layers: layers that have it.
        shape: of the model.
    """
    counts: dict[str, int] = {}
    for layer in range(n_layers):
        kind = _type(recipe, name, layer, shape)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _type(recipe: Recipe, name: str, layer: int, shape: Shape) -> str:
    """Return the type of one layer's tensor."""
    kind = ""
    if name == FUSED:
        kind = recipe.fused
    elif name in _VALUES:
        kind = _value_type(recipe, layer, shape)
    elif name in ("attn_q", "attn_k"):
        kind = recipe.keys
        if name == "attn_k" and shape.n_experts == EIGHT_EXPERTS and recipe.eight_values:
            kind = recipe.eight_values
    elif name == "attn_output":
        kind = _output_type(recipe, shape)
    elif name.startswith("ffn_down"):
        kind = _first(recipe.down, layer, shape)
    elif name.startswith(("ffn_gate", "ffn_up")):
        kind = _first(recipe.wide, layer, shape)
    return kind or recipe.base


def _value_type(recipe: Recipe, layer: int, shape: Shape) -> str:
    if shape.n_experts == EIGHT_EXPERTS and recipe.eight_values:
        return recipe.eight_values
    kind = _first(recipe.value, layer, shape) or recipe.base
    is_deep = recipe.is_deepened and shape.n_layers == DEEP and shape.queries_per_key > 1
    return "Q5_K" if is_deep and kind in _RAISED_WHEN_DEEP else kind


def _output_type(recipe: Recipe, shape: Shape) -> str:
    """Return the type of the attention's output projection; Falcon raises it in one recipe only."""
    if shape.is_falcon:
        return "Q4_K" if recipe is RECIPES["q3_k_l"] else ""
    return recipe.eight_out if shape.n_experts == EIGHT_EXPERTS else recipe.out


def _first(choices: Choices, layer: int, shape: Shape) -> str:
    return next((kind for kind, where in choices if where(layer, shape)), "")
