"""Count what transformers builds from a config, by role: the figures that our architectures must meet.

    python tools/count_with_transformers.py CONFIGS.json -o tests/data/architectures.json

CONFIGS.json maps a name to a config (a `config.json`; a bare `model_type` means the class's defaults).
Each model is built on the meta device, without weights, by the class that its `architectures` name, else
by the first automatic class that takes it. A parameter is counted once however often it is tied. Learned
buffers (the correction of a router's scores) count, masks and tables of frequencies do not.

Needs torch and transformers, which the package itself never does: an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUILDERS = (
    "AutoModelForImageTextToText",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForSeq2SeqLM",
    "AutoModelForCausalLM",
    "AutoModelForMultimodalLM",
    "AutoModel",
)
PARTS = (
    ("audio", r"audio|speech"),
    ("vision", r"vision|visual|mm_projector|multi_modal_projector|multimodal_projector|connector|mlp1\."),
)
WHOLE = dict.fromkeys(
    ("vit", "deit", "dinov2", "dinov2_with_registers", "siglip_vision_model"), "vision"
) | dict.fromkeys(("wav2vec2", "hubert", "wavlm"), "audio")
"""What a model is that is one part and does not name it."""
ROLES = (
    ("conv", r"conv_?[123]d|Conv[123]d|patch_embed|patch_conv"),
    ("mlp", r"shared_(expert|mlp)(?!_gate)|residual_mlp|RwkvFeedForward"),
    ("router", r"router|\bgate\.weight|\bgate\.wg|shared_expert_gate|correction_bias|expert_bias"),
    ("experts", r"experts"),
    ("recurrent", r"linear_attn|[Mm]amba|Mixer|Delta|Lightning|ShortConv|RecurrentBlock|RwkvSelfAttention"),
    ("attention", r"[Aa]tt|query|key|value"),
)
SMALL_MATRIX = re.compile(r"shared_expert_gate|classifier")
LEARNED = re.compile(r"correction_bias|expert_bias")


def role_of(name: str, tensor: Any, owners: list[Any], head: Any) -> str:
    """Return the role of a parameter, from its shape, its name and the modules that it stands in."""
    from torch import nn  # noqa: PLC0415  (an environment of its own)

    owner = owners[-1]
    if isinstance(owner, nn.Embedding) or re.search(r"embed_positions|position_embedding|pos_emb", name):
        return "embedding"
    if name.endswith(("bias", "A_log")) or re.search(r"[qk]_norm\.weight", name):
        return "norm"
    if tensor.numel() == max(tensor.shape, default=1) and not SMALL_MATRIX.search(name):
        return "norm"
    if owner is head:
        return "head"
    # The classes within a layer tell attention from recurrence where the names do not.
    depth = max((i for i, part in enumerate(name.split(".")) if part.isdigit()), default=-1)
    inside = [type(module).__name__ for module in owners[depth + 2 :]]
    where = " ".join([name, *inside])
    return next((role for role, pattern in ROLES if re.search(pattern, where)), "mlp")


def tensors_of(model: Any) -> Iterator[tuple[str, Any, list[Any]]]:
    """Yield each parameter and learned buffer once, with the modules around it, the innermost last."""
    modules = dict(model.named_modules())
    learned = [(name, buffer) for name, buffer in model.named_buffers() if LEARNED.search(name)]
    for name, tensor in [*model.named_parameters(), *learned]:
        steps = name.split(".")[:-1]
        yield name, tensor, [modules[".".join(steps[:n])] for n in range(len(steps) + 1)]


def build(config: dict[str, Any]) -> Any:
    """Build a model on the meta device."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    values = {key: value for key, value in config.items() if key != "quantization_config"}
    made = transformers.CONFIG_MAPPING[values["model_type"]].from_dict(values)
    named = [getattr(transformers, name, None) for name in config.get("architectures", [])]
    with torch.device("meta"):
        if named and named[0] is not None:
            return named[0](made)
        for builder in BUILDERS:
            auto = getattr(transformers, builder)
            if type(made) in auto._model_mapping:  # noqa: SLF001  (there is no other way to ask)
                return auto.from_config(made)
    raise SystemExit(f"transformers has no class for {values['model_type']}")


def totals(model: Any) -> dict[str, int]:
    """Return the parameters by role of the language model, and by shape of what sees and hears."""
    model.tie_weights()
    head = model.get_output_embeddings()
    found: Counter[str] = Counter()
    for name, tensor, owners in tensors_of(model):
        named = (part for part, pattern in PARTS if re.search(pattern, name))
        part = next(named, WHOLE.get(model.config.model_type, ""))
        if model.config.is_encoder_decoder and re.match(r"(model\.)?encoder\.", name):
            part = "audio" if hasattr(model.config, "num_mel_bins") else "encoder"
        role = role_of(name, tensor, owners, head)
        if part:
            role = f"{part} vectors" if role == "norm" else f"{part} tensors"
        found[role] += tensor.numel()
    return dict(sorted(found.items()))


def main() -> None:
    """Write what transformers builds from every config of a file."""
    import transformers  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="names to count anew; the others stay")
    chosen = parser.parse_args()
    configs = json.loads(chosen.configs.read_text(encoding="utf-8"))
    old = json.loads(chosen.output.read_text(encoding="utf-8"))["models"] if chosen.only else {}
    models = dict(old)
    for name, config in configs.items():
        if not chosen.only or name in chosen.only:
            models[name] = {"config": config, "totals": totals(build(config))}
            print(name, sum(models[name]["totals"].values()), flush=True)
    made = f"tools/count_with_transformers.py, transformers {transformers.__version__}, meta device"
    lines = [f"{json.dumps(name)}: {json.dumps(model)}" for name, model in sorted(models.items())]
    text = '{"made_with": ' + json.dumps(made) + ', "models": {\n' + ",\n".join(lines) + "\n}}\n"
    chosen.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
