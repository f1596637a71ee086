"""Which precision does a config declare? Its `quantization_config`, in the words of each method.

A method says how matrices are stored, a list of exceptions what of the model it leaves alone. Both are
read here; what no rule covers is an error and never a guess.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from rackrate.catalog.architecture import Architecture
from rackrate.errors import UnknownName, nearest
from rackrate.fit.formats import FORMATS, MLX_WIDTHS, grouped
from rackrate.fit.precision import (
    LINEAR,
    PRECISIONS,
    STEADY,
    Precision,
    averaged_precision,
    grouped_precision,
    mlx_precision,
)

# Names of modules in Hugging Face checkpoints that hold most of a role; what is a part of one only
# (an output projection, the two small inputs of a gated delta net) is not worth a rule.
_MODULES = {
    "attention": r"(?:self_attn|(?:self_)?attention|\battn|\b(?:q|qkv|q_b)_proj|query_key_value)$",
    "recurrent": r"(?:linear_attn|mamba|mixer|linear_attn\.in_proj_qkvz?|(?:mamba|mixer)\.in_proj)$",
    "experts": r"(?<!shared_)(?:experts|experts\.(?:\d+\.)?(?:gate|up|gate_up)_proj|block_sparse_moe)$",
    "mlp": r"(?:(?:mlp|feed_forward|shared_experts?)(?:\.(?:gate|up|gate_up)_proj)?|mlp\.fc1)$",
    "router": r"(?:mlp\.gate|router)$",
}
_TOWERS = re.compile(r"visual|vision|audio|image|speech|projector|merger")
_LISTS = ("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules", "llm_int8_skip_modules")


def from_config(quantization: Mapping[str, Any], arch: Architecture) -> Precision:
    """Return the precision that a config's `quantization_config` states.

    Args:
        quantization: as read; not empty.
        arch: the model, to see whether a list of exceptions covers a role in most of its layers.

    Raises:
        UnknownName: a method that no rule here covers.
    """
    inner = quantization.get("quantization")  # as modelopt writes it in a file of its own
    stated = {**quantization, **inner} if isinstance(inner, Mapping) else quantization
    method = str(stated.get("quant_method", stated.get("quant_algo", ""))).lower()
    if not method and any(stated.get(key) for key in ("load_in_4bit", "load_in_8bit")):
        method = "bitsandbytes"  # which named no method before there were others
    found = _from_method(method, stated)
    if found is None:
        known = [names[0] for names in _METHODS]
        said = " ".join(filter(None, (method, str(stated.get("quant_algo") or ""))))
        raise UnknownName("quantisation method", said, nearest(said, known) or known)
    found = found.applied_to(arch)
    names = [_plain(name) for key in _LISTS for name in _strings(stated.get(key))]
    towers = frozenset({"vision", "audio"}) if any(_TOWERS.search(name) for name in names) else frozenset()
    spoken = [name for name in names if not _TOWERS.search(name) and not name.startswith("mtp")]
    narrowed = found.narrowed | LINEAR if found.narrowed >= STEADY else found.narrowed  # the list decides
    kept = {role for role in narrowed if _covers(spoken, role, arch)}
    return replace(
        found,
        narrowed=narrowed - kept,
        kept_parts=found.kept_parts | towers,
        error_frac=found.error_frac / 2,
    )


def _strings(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, (list, tuple)) else []


def _plain(pattern: str) -> str:
    """Return a name without the marks of a pattern: `re:.*mlp.gate$` is `mlp.gate`."""
    return pattern.removeprefix("re:").replace("\\", "").strip("^$*.")


def _covers(names: Iterable[str], role: str, arch: Architecture) -> bool:
    """Tell whether exceptions name a role as a whole: once for all layers, or most layers one by one."""
    hits = [name for name in names if re.search(_MODULES.get(role, "$^"), name)]
    layers = {match[1] for name in hits if (match := re.search(r"layers\.(\d+)\.", name))}
    if any(not re.search(r"\.\d+\.", name) for name in hits):
        return True
    return 2 * len(layers) > _layers_of(role, arch)


def _layers_of(role: str, arch: Architecture) -> int:
    """Return how many layers of the language model have tensors of a role."""
    counts = [t.count for t in arch.tensors if t.role == role and t.part == "language" and not t.is_extra]
    return min(max(counts, default=0), arch.main.n_layers)


def _from_method(method: str, q: Mapping[str, Any]) -> Precision | None:
    for names, read in _METHODS.items():
        if method in names:
            return read(q)
    return None


def _packed(q: Mapping[str, Any]) -> Precision:
    """Read integers in groups: GPTQ, AWQ and their kin, and HQQ, which has a section for them."""
    inner = q.get("quant_config")
    params = inner.get("weight_quant_params") if isinstance(inner, Mapping) else None
    if isinstance(params, Mapping):
        return _grouped(_int(params.get("nbits"), 4), _int(params.get("group_size"), 64))
    bits = _int(q.get("bits", q.get("w_bit")), 4)
    found = _grouped(bits, _int(q.get("group_size", q.get("q_group_size")), 128))
    return replace(found, by_role=(("head", found.matrix),)) if q.get("lm_head") is True else found


def _fp8(q: Mapping[str, Any]) -> Precision:
    return PRECISIONS["fp8-block" if q.get("weight_block_size") else "fp8"]


def _bitsandbytes(q: Mapping[str, Any]) -> Precision:
    if not q.get("load_in_4bit"):
        return PRECISIONS["int8"]
    return PRECISIONS["nf4-dq" if q.get("bnb_4bit_use_double_quant") else "nf4"]


_ALGORITHMS = (
    (r"fp4", "nvfp4"),
    (r"fp8_pb", "fp8-block"),
    (r"fp8", "fp8"),
    (r"w8a|int8", "int8"),
    (r"w4a|int4", "int4"),
)


def _modelopt(q: Mapping[str, Any]) -> Precision | None:
    """Read NVIDIA's ModelOpt: one algorithm, or one a layer where these are mixed."""
    layers = q.get("quantized_layers")
    if isinstance(layers, Mapping):
        return _by_layer({str(name): how for name, how in layers.items() if isinstance(how, Mapping)})
    return _algorithm(q.get("quant_algo") or q.get("quant_method"))


def _algorithm(name: object) -> Precision | None:
    found = next((to for pattern, to in _ALGORITHMS if re.search(pattern, str(name).lower())), None)
    return PRECISIONS[found] if found else None


def _by_layer(layers: Mapping[str, Mapping[str, Any]]) -> Precision | None:
    """Return what most layers of each role have."""
    votes: dict[str, Counter[str]] = {}
    for name, how in layers.items():
        role, found = _target_role(name), _algorithm(how.get("quant_algo"))
        if role and found:
            votes.setdefault(role, Counter())[found.name] += 1
    most = {role: PRECISIONS[counted.most_common(1)[0][0]] for role, counted in votes.items()}
    return _mixed(most) if most else None


def _mixed(by_role: Mapping[str, Precision]) -> Precision:
    """Return the precision of a file whose roles differ; the others stay in 16 bit."""
    widest = max(by_role.values(), key=lambda precision: precision.bits)
    formats = tuple((role, precision.matrix) for role, precision in sorted(by_role.items()))
    return replace(widest, narrowed=frozenset(by_role), by_role=formats)


def _mlx(q: Mapping[str, Any]) -> Precision:
    mode, bits, group = str(q.get("mode")), _int(q.get("bits"), 4), _int(q.get("group_size"), 64)
    name = mode if mode in ("mxfp4", "nvfp4") else f"mlx{bits}-g{group}"
    if name not in FORMATS:
        raise UnknownName(
            "quantisation", f"MLX of {bits} bits in groups of {group}", [f"{n} bits" for n in MLX_WIDTHS]
        )
    return mlx_precision(bits, name)


def _grouped(bits: int, group: int, *, is_symmetric: bool = False) -> Precision:
    """Return the GPTQ or AWQ precision of that width; a group of -1 is a whole row.

    Raises:
        UnknownName: a width or a group that nobody packs.
    """
    matrix = grouped(bits, group, is_symmetric=is_symmetric)
    if matrix not in FORMATS:
        what = f"{bits} bits in groups of {group}"
        raise UnknownName("quantisation", what, nearest(matrix, FORMATS) or ["int4-g128"])
    return grouped_precision(matrix)


_TARGETS = {
    "experts": r"(?<!shared_)experts",
    "attention": r"self_attn|attention|[qkvo]_proj",
    "recurrent": r"linear_attn|mamba|mixer",
    "mlp": r"mlp|feed_forward|shared_expert|(?:gate|up|down)_proj",
}
"""What a pattern of modules to narrow speaks of: the first that it names."""


def _target_role(name: str) -> str:
    return next((role for role, pattern in _TARGETS.items() if re.search(pattern, name)), "")


def _compressed(q: Mapping[str, Any]) -> Precision | None:
    """Read the groups of a compressed-tensors config: one for all layers, or each for some."""
    groups = q.get("config_groups")
    listed = (
        [group for group in groups.values() if isinstance(group, Mapping)]
        if isinstance(groups, Mapping)
        else []
    )
    by_role: dict[str, Precision] = {}
    for group in listed:
        weights = group.get("weights")
        if not isinstance(weights, Mapping):
            return None
        found = _scheme(weights, str(q.get("format")))
        patterns = [name for name in _strings(group.get("targets")) if name.startswith("re:") or "." in name]
        if not patterns or len(listed) == 1:
            return found
        by_role |= {role: found for name in patterns if (role := _target_role(name))}
    return _mixed(by_role) if by_role else None


def _scheme(weights: Mapping[str, Any], layout: str) -> Precision:
    """Return the precision of one group: its width, type and strategy."""
    bits, kind = _int(weights.get("num_bits", 8), 8), str(weights.get("type", "int"))
    if kind == "float":
        if bits == 4:  # noqa: PLR2004
            is_mx = "mxfp4" in layout or _int(weights.get("group_size"), 16) == 32  # noqa: PLR2004
            return replace(PRECISIONS["mxfp4"], narrowed=LINEAR) if is_mx else PRECISIONS["nvfp4"]
        return PRECISIONS["fp8-block" if weights.get("strategy") == "block" else "fp8"]
    if weights.get("strategy") in ("channel", "tensor") and bits == 8:  # noqa: PLR2004
        return PRECISIONS["int8"]
    group = _int(weights.get("group_size"), -1)
    return _grouped(bits, group, is_symmetric=bool(weights.get("symmetric", True)))


def _torchao(q: Mapping[str, Any]) -> Precision | None:
    """Read torchao, which names the class of its way, or a function: what stands before `weight` counts."""
    way = q.get("quant_type")
    text = json.dumps([way, q.get("quant_type_kwargs")]).lower()
    found = re.search(r"(int4|int8|float8)_?weight|(nvfp4|mxfp4)", text)
    name = {"float8": "fp8"}.get(found[1] or found[2], found[1] or found[2]) if found else ""
    group = re.search(r'"group_size": (\d+)', text)
    if name == "int4" and group:
        return _grouped(4, int(group[1]))
    return PRECISIONS.get(name)


def _quanto(q: Mapping[str, Any]) -> Precision | None:
    name = str(q.get("weights", "int8"))
    return PRECISIONS.get("fp8" if name == "float8" else name)


def _quark(q: Mapping[str, Any]) -> Precision | None:
    """Read AMD's Quark: the scheme of all layers."""
    whole = q.get("global_quant_config")
    weight = whole.get("weight") if isinstance(whole, Mapping) else None
    dtype = str(weight.get("dtype")).lower() if isinstance(weight, Mapping) else ""
    if dtype.startswith(("fp4", "mx_fp4", "mxfp4")):
        return replace(PRECISIONS["mxfp4"], narrowed=LINEAR)
    return PRECISIONS.get({"fp8_e4m3": "fp8", "int8": "int8", "int4": "int4", "uint4": "int4"}.get(dtype, ""))


def _exl(q: Mapping[str, Any]) -> Precision:
    """Read EXL2 and EXL3: bits on average, those of the output matrix apart."""
    return averaged_precision(_float(q.get("bits"), 4.0), _float(q.get("head_bits"), 6.0))


def _aqlm(q: Mapping[str, Any]) -> Precision:
    """Read AQLM: a group of numbers is one code from each codebook."""
    bits = _int(q.get("num_codebooks"), 1) * _int(q.get("nbits_per_codebook"), 16)
    group = _int(q.get("in_group_size"), 8) * _int(q.get("out_group_size"), 1)
    return replace(averaged_precision(bits / max(group, 1)), name="aqlm", by_role=(), error_frac=0.03)


_METHODS: Mapping[tuple[str, ...], Callable[[Mapping[str, Any]], Precision | None]] = {
    ("gptq", "gptq_marlin", "marlin", "inc"): _packed,
    ("awq", "awq_marlin"): _packed,
    ("fp8", "fbgemm_fp8"): _fp8,
    ("compressed-tensors", "compressed_tensors"): _compressed,
    ("bitsandbytes",): _bitsandbytes,
    ("mxfp4",): lambda _: PRECISIONS["mxfp4"],
    ("modelopt", "modelopt_fp4", "nvfp4", "fp4"): _modelopt,
    ("mlx", "affine", ""): _mlx,  # MLX writes bits and group size and no method
    ("auto-round", "autoround", "intel/auto-round"): _packed,
    ("hqq",): _packed,
    ("torchao",): _torchao,
    ("quanto",): _quanto,
    ("quark",): _quark,
    ("eetq",): lambda _: PRECISIONS["int8"],
    ("experts_int8",): lambda _: replace(PRECISIONS["int8"], narrowed=frozenset({"experts"})),
    ("exl2", "exl3"): _exl,
    ("aqlm",): _aqlm,
    ("bitnet",): lambda _: _grouped(2, -1),  # three values, four numbers in a byte
}


def _int(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _float(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default
