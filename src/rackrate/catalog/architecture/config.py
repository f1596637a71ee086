"""What a config says: one name for each thing, the family's default where it is silent, one error.

Configs call the same number by many names (`hidden_size`, `n_embd`, `d_model`), leave out what
equals the default of their class, and write null for "derive it". A `Config` hides all three. What
a config states always wins, null included: an explicit null is not the default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rackrate.errors import BadQuantity, NoAnswer

Switch = bool | str
"""A yes or no, or the config key that decides."""

MAX_COUNT = 10**9
"""No width, count or length of a real model is larger."""

MAX_LAYERS = 10_000
"""No real model is deeper."""

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "n_embed", "d_model", "model_dim", "dim"),
    "intermediate_size": (
        "n_inner",
        "ffn_dim",
        "ffn_hidden_size",
        "d_ff",
        "hidden_dim",
        "ff_intermediate_size",
    ),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads"),
    "num_key_value_heads": (
        "num_kv_heads",
        "n_head_kv",
        "n_kv_heads",
        "kv_n_heads",
        "multi_query_group_num",
        "num_attention_groups",
        "num_query_groups",
    ),
    "head_dim": ("kv_channels", "attention_head_dim"),
    "vocab_size": ("padded_vocab_size",),
    "max_position_embeddings": ("n_positions", "max_sequence_length", "seq_length", "max_seq_len", "n_ctx"),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": ("num_experts_per_token", "moe_top_k", "moe_topk", "moe_k", "top_k_experts"),
    "moe_intermediate_size": ("expert_ffn_hidden_size",),
    "n_shared_experts": ("num_shared_experts", "moe_num_shared_experts", "num_shared_expert"),
    "shared_expert_intermediate_size": (
        "shared_intermediate_size",
        "moe_shared_expert_intermediate_size",
    ),
    "sliding_window_pattern": ("global_attn_every_n_layers",),
    "layer_types": ("layers_block_type", "block_types"),
    "first_k_dense_replace": ("num_dense_layers", "moe_layer_start_index"),
    "decoder_sparse_step": ("moe_layer_interval",),
    "mamba_n_heads": ("mamba_num_heads",),
    "mamba_d_head": ("mamba_head_dim", "mamba_headdim"),
    "mamba_d_state": ("ssm_state_size", "state_size"),
    "mamba_d_conv": ("conv_kernel",),
    "mamba_expand": ("expand",),
    "mamba_n_groups": ("n_groups", "mamba_ngroups"),
    "mamba_dt_rank": ("time_step_rank",),
    "mamba_conv_bias": ("use_conv_bias",),
    "moe_latent_size": ("routed_expert_hidden_size",),
    "mtp_layers": ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules", "num_mtp_layers"),
}
"""Other names of a number of a language model, by the name that our readers use."""


class Config:
    """One level of a config, read by name.

    Attributes:
        values: what the config states.
        defaults: what the family's class assumes where the config is silent.
        where: whose config, and which section of it, for errors.
        notes: what had to be assumed; shared by all sections of a config.
    """

    __slots__ = ("defaults", "notes", "values", "where")

    def __init__(
        self,
        values: Mapping[str, Any],
        defaults: Mapping[str, Any],
        where: str,
        notes: list[str] | None = None,
    ) -> None:
        self.values, self.defaults, self.where = values, defaults, where
        self.notes: list[str] = [] if notes is None else notes

    def states(self, *names: str) -> bool:
        """Tell whether the config itself gives one of these, and not null."""
        return any(self.values.get(other) is not None for name in names for other in spellings(name))

    def get(self, name: str, otherwise: Any = None) -> Any:
        """Return the raw value of `name`: stated, else the family's default, else `otherwise`."""
        for other in spellings(name):
            if other in self.values:
                stated = self.values[other]
                return otherwise if stated is None else stated
        default = self.defaults.get(name)
        return otherwise if default is None else default

    def count(self, name: str, otherwise: int | None = None, *, least: int = 0) -> int:
        """Return a whole number; one that is needed and nowhere said is an error.

        A list stands for a number a layer: equal numbers are one number, else the largest is taken.

        Raises:
            NoAnswer: neither the config nor its family nor `otherwise` says it.
            BadQuantity: it is no whole number, below `least` or absurdly large.
        """
        value = self.get(name, otherwise)
        if value is None:
            raise NoAnswer(
                f"{self.where} cannot be read: the config has no `{name}`",
                hint="give the whole config.json of the model",
            )
        if isinstance(value, (list, tuple)) and value:
            numbers = [self._whole(name, item, least) for item in value]
            if min(numbers) != max(numbers):
                self.note(f"`{name}` differs between layers: the largest was taken")
            return max(numbers)
        return self._whole(name, value, least)

    def per_layer(self, name: str, n_layers: int, otherwise: int | None = None) -> Sequence[int]:
        """Return a whole number for each of `n_layers` layers, from a number or a list of them.

        Raises:
            BadQuantity: the list has fewer numbers than there are layers.
        """
        value = self.get(name, otherwise)
        if not isinstance(value, (list, tuple)):
            return (self.count(name, otherwise),) * n_layers
        if len(value) < n_layers:
            raise BadQuantity(f"{self.where}: `{name}` has {len(value)} numbers for {n_layers} layers")
        return [self._whole(name, item, 0) for item in value[:n_layers]]

    def flag(self, name: Switch, *, otherwise: bool = False) -> bool:
        """Return a switch: `name` is the answer itself, or the key under which the config has it."""
        return name if isinstance(name, bool) else bool(name and self.get(name, otherwise))

    def text(self, name: str, otherwise: str = "") -> str:
        """Return a text; anything else counts as not said."""
        value = self.get(name)
        return value if isinstance(value, str) else otherwise

    def words(self, name: str) -> list[str]:
        """Return a list of texts; empty when there is none.

        Raises:
            BadQuantity: it is something else.
        """
        value = self.get(name)
        if value is None:
            return []
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise BadQuantity(f"{self.where}: `{name}` is {_short(value)}, which is no list of names")
        return list(value)

    def numbers(self, name: str) -> list[int]:
        """Return a list of whole numbers; empty when there is none.

        Raises:
            BadQuantity: it is something else.
        """
        value = self.get(name)
        if value is None:
            return []
        if not isinstance(value, (list, tuple)):
            raise BadQuantity(f"{self.where}: `{name}` is {_short(value)}, which is no list")
        return [self._whole(name, item, -MAX_COUNT) for item in value]

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a nested config as it stands; empty when there is none.

        Raises:
            BadQuantity: it is something else than a mapping.
        """
        value = self.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise BadQuantity(f"{self.where}: `{name}` is {_short(value)}, which is no section")
        return value

    def note(self, assumption: str) -> None:
        """Write down, once, what had to be assumed."""
        if assumption not in self.notes:
            self.notes.append(assumption)

    def _whole(self, name: str, value: Any, least: int) -> int:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not is_whole:
            raise BadQuantity(f"{self.where}: `{name}` is {_short(value)}, which is no whole number")
        most = MAX_LAYERS if name == "num_hidden_layers" else MAX_COUNT
        if not least <= value <= most:
            raise BadQuantity(f"{self.where}: `{name}` is {value}, which is not from {least} to {most}")
        return int(value)


def spellings(name: str) -> tuple[str, ...]:
    """Return the names under which configs have a value, the common one first."""
    return (name, *SYNONYMS.get(name, ()))


def _short(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 40 else f"{written[:37]}..."  # noqa: PLR2004  (fits a line)
