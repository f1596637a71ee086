"""How large is a model? What a source states, else what its config says by the formulae of this part."""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.architecture.of_model import counts_of
from rackrate.catalog.model import Model
from rackrate.errors import NoAnswer


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a model; None where neither a source nor a config says them, or it has none.

    Attributes:
        params_total: all parameters, tied embeddings once.
        params_active: those that one token, or denoising step, passes through.
        context_tokens: of the longest sequence.
        kv_bytes_per_token: growth of the KV cache a token in bf16, without windows and states.
    """

    params_total: int | None
    params_active: int | None
    context_tokens: int | None
    kv_bytes_per_token: int | None


def sizes_of(model: Model) -> Sizes:
    """Return the sizes of a model of the catalog.

    >>> from rackrate.catalog.model import load_model
    >>> sizes_of(load_model("mixtral-8x7b")).params_active
    12879925248
    """
    stated = Sizes(
        model.params_total.value,
        model.params_active.value,
        model.max_position_embeddings.value,
        model.kv_bytes_per_token_bf16.value,
    )
    try:
        found = best_architecture(model)
    except NoAnswer:
        return stated
    counted = counts_of(found)
    return Sizes(
        stated.params_total or counted.total,
        stated.params_active or counted.active,
        stated.context_tokens or found.max_context or None,
        stated.kv_bytes_per_token or found.kv_bytes_per_token() or None,
    )
