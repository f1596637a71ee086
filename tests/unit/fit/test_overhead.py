"""Cards and fixed overheads: what logs say a process can have."""

from __future__ import annotations

import pytest

from rackrate.catalog.gpu import load_gpu
from rackrate.catalog.load import slugs
from rackrate.fit.engine import ENGINES, memory_fraction_of, vllm_limits
from rackrate.fit.estimate import estimate
from rackrate.fit.overhead import (
    beside_term,
    context_term,
    graphs_term,
    link_term,
    serving_outside,
    slack_term,
    usable_memory,
)
from rackrate.fit.parallel import ONE_GPU, Layout
from rackrate.fit.precision import PRECISIONS
from rackrate.fit.setup import Load, Setup
from rackrate.fit.solve import HOPELESS, SURE, probability
from rackrate.fit.term import Total
from rackrate.sizing import find_card, find_weights


@pytest.mark.parametrize(
    ("slug", "low", "high"),
    [
        ("l40s", 44.31, 44.39),  # notes, section 7.5: engines' start-up logs
        ("h100-sxm", 79.18, 79.33),
        ("a100-80gb-sxm", 79.14, 79.15),
        ("t4", 14.56, 14.74),
        ("a10", 21.48, 22.4),
        ("rtx-4090", 23.5, 23.71),
        ("rtx-3090", 23.5, 23.71),
        ("h200-sxm", 139.7, 139.9),  # our own: 139.80
    ],
)
def test_usable_memory_of_known_cards(slug: str, low: float, high: float) -> None:
    assert low <= usable_memory(load_gpu(slug)).gib <= high


@pytest.mark.parametrize("slug", slugs("gpus"))
def test_no_card_gives_more_than_its_label(slug: str) -> None:
    gpu = load_gpu(slug)
    card = usable_memory(gpu)
    label = gpu.memory_gib.value or 0.0
    assert 0.9 * label <= card.gib <= label
    assert card.sigma_gib >= 0
    assert card.formula
    assert card.source
    assert card.is_a100 == ("a100" in slug)


def test_overheads_as_logs_have_them() -> None:
    """Fit-102, 118, 122, 145: non-torch 0.12 to 0.14 GiB on one GPU, 0.54 on two; 0.67 for torch (ours)."""
    vllm, torch = ENGINES["vllm"], ENGINES["torch"]
    link = link_term(vllm, Layout(tensor=2))
    assert context_term(vllm).gib == pytest.approx(0.13, abs=0.02)
    assert link is not None
    assert context_term(vllm).gib + link.gib == pytest.approx(0.54, abs=0.03)
    assert context_term(torch).low_gib <= 0.67 <= context_term(torch).high_gib


@pytest.mark.parametrize(("seqs", "gib"), [(1024, 0.91), (256, 1.1), (256, 0.68), (2, 0.2)])
def test_graphs_as_logs_have_them(seqs: int, gib: float) -> None:
    """Llama 8B 0.91 (0.19), Qwen2.5 14B 1.1 (0.21), Qwen3 8B 0.68 (0.10); few sizes 0.1 to 0.4."""
    assert graphs_term(seqs).low_gib <= gib <= graphs_term(seqs).high_gib


@pytest.mark.parametrize(("seqs", "sizes"), [(1, 3), (4, 4), (128, 35), (256, 51), (1024, 51)])
def test_a_graph_for_each_size_up_to_twice_the_sequences(seqs: int, sizes: int) -> None:
    """The lists that the logs print: 1, 2, 4, 8, 16, ... 256 are 35, and 272 ... 512 another 16."""
    assert graphs_term(seqs).formula.startswith(f"{sizes} ")


@pytest.mark.parametrize(
    ("version", "card", "gpus", "gib"),
    [
        ("0.17.0", "h100-sxm", 1, 0.13), ("0.19.0", "h100-sxm", 1, 0.25), ("0.11", "h100-sxm", 2, 0.54),
        ("0.19.0", "h100-sxm", 2, 2.07), ("0.19.0", "h100-sxm", 4, 2.13), ("0.10.2", "h100-sxm", 4, 1.84),
        ("V0 0.7", "l40s", 2, 0.30),
    ],
)  # fmt: skip
def test_what_vllm_holds_outside_of_torch(version: str, card: str, gpus: int, gib: float) -> None:
    layout = Layout(tensor=gpus)
    found = Total.of(serving_outside(ENGINES["vllm"], version, find_card(card)[0], layout))
    assert found.low_gib <= gib <= found.high_gib


@pytest.mark.parametrize(
    ("slug", "has"), [("h100-sxm", True), ("a100-80gb-sxm", False), ("h100-pcie", False)]
)
def test_a_switch_that_multicasts_is_nvswitch_from_hopper_on(slug: str, has: bool) -> None:  # noqa: FBT001
    assert find_card(slug)[0].has_multicast is has


def test_one_gpu_has_nobody_to_speak_to() -> None:
    assert all(link_term(engine, ONE_GPU) is None for engine in ENGINES.values())


def test_slack_grows_with_what_moves() -> None:
    assert slack_term(ENGINES["vllm"], 10.0) is None
    torch = ENGINES["torch"]
    sizes = [slack_term(torch, gib) for gib in (0.0, 1.0, 10.0)]
    assert [term.gib for term in sizes if term] == [torch.slack_frac * gib for gib in (0.0, 1.0, 10.0)]


@pytest.mark.parametrize(
    ("fraction", "version", "chance"),
    [
        (0.97, "0.11", "sure"),
        (0.90, "0.19", "sure"),
        (0.95, "0.19", "unlikely"),
        (0.92, "0.25", "sure"),
        (0.99, "0.25", "hopeless"),
    ],
)
def test_what_mxfp4_takes_beside_its_share_of_a_hopper_card(
    fraction: float, version: str, chance: str
) -> None:
    """gpt-oss-20b on one H100, vLLM 0.19: starts at 0.90, out of memory at 0.95 as the sampler warms up."""
    setup = Setup(version=version, precision=PRECISIONS["mxfp4"], memory_fraction=fraction)
    arch = find_weights("gpt-oss-20b").arch
    found = estimate(arch, usable_memory(load_gpu("h100-sxm")), setup, Load(8192, 1))
    bounds = {"sure": (SURE, 1), "unlikely": (HOPELESS, 0.5), "hopeless": (0, HOPELESS)}
    low, high = bounds[chance]
    assert low <= probability(found) <= high


@pytest.mark.parametrize("gpu", ["l40s", "rtx-4090", "t4", "h100-sxm", "a10"])
@pytest.mark.parametrize("version", ["0.10", "0.19", "0.21", "0.25"])
def test_the_rest_of_a_card_holds_what_vllm_takes_beside_its_default_share(gpu: str, version: str) -> None:
    setup = Setup(version=version, memory_fraction=memory_fraction_of(ENGINES["vllm"], version))
    arch = find_weights("llama-3.2-1b").arch
    found = estimate(arch, usable_memory(load_gpu(gpu)), setup, Load(2048, 1))
    assert probability(found) >= SURE


def test_without_graphs_only_the_context_is_beside_the_share() -> None:
    card = usable_memory(load_gpu("l40s"))
    limits = vllm_limits("0.19", card.gib, is_a100=False, context=8192)
    eager = beside_term(card, limits, has_graphs=False, is_mxfp4=True)
    graphs = beside_term(card, limits, has_graphs=True, is_mxfp4=True)
    assert eager.gib == pytest.approx(0.35)  # no kernels of Hopper's
    assert graphs.gib - eager.gib == pytest.approx(graphs_term(limits.max_num_seqs).gib)
