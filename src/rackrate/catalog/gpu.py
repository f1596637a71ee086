"""What is known of a GPU: every number a fact with its source, or the reason why there is none.

TFLOPS are dense and at the vendor's boost clock; figures with sparsity stand in fields of their own
and are never compared with them. Memory is GiB: what a vendor sells as "48 GB" is 48 GiB, of which
the driver shows less when ECC is on.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from rackrate.catalog.aliases import gpu_names, match_gpu
from rackrate.catalog.fact import Fact
from rackrate.catalog.load import slugs, table
from rackrate.errors import CatalogInvalid, UnknownName, nearest

# A file may leave out what hardly any source states, such as figures with sparsity.
_NOT_STATED: Fact[Any] = Fact(None, unknown="not stated by the sources read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One product: a card, a module, or one GPU of a board that carries several.

    Attributes:
        slug: stable key.
        name: the vendor's name.
        vendor: who makes it.
        architecture: the vendor's name of the generation.
        chip: the die; empty when not stated.
        segment: `datacenter`, `workstation`, `consumer` or `other-accelerator`.
        memory_label: memory as the vendor words it.
        flops_sources: ids of all sources read for the TFLOPS; each fact names the one it follows.
        remarks: what a reader should know and no fact holds.
        memory_gib: nominal memory.
        memory_visible_gib: memory that the driver shows (nvidia-smi), with ECC as found.
        memory_cuda_gib: memory that CUDA reports to a process (`cudaMemGetInfo`).
        memory_type: GDDR6, HBM3...
        bandwidth_gb_per_s: memory bandwidth, 1e9 bytes/s.
        bus_width_bits: width of the memory bus.
        memory_rate_gbps_per_pin: transfers on one data pin.
        tdp_w: the vendor's board power.
        power_limit_seen_w: limit that nvidia-smi showed on cloud servers.
        fp64_tflops: FP64 without tensor cores.
        fp64_tensor_tflops: FP64 on tensor cores.
        fp32_tflops: FP32 without tensor cores.
        tf32_tensor_tflops: TF32, dense.
        fp16_tensor_tflops: FP16 with FP32 accumulate, dense.
        bf16_tensor_tflops: BF16 with FP32 accumulate, dense.
        fp8_tensor_tflops: FP8 with FP32 accumulate, dense.
        fp4_tensor_tflops: FP4, dense.
        int8_tensor_tops: INT8, dense; on ordinary cores where there are no tensor cores (Pascal).
        fp16_acc16_tflops: FP16 with FP16 accumulate, dense: what shops print for GeForce cards.
        tf32_tensor_sparse_tflops: TF32 with 2:4 sparsity.
        bf16_tensor_sparse_tflops: BF16 with 2:4 sparsity.
        fp8_tensor_sparse_tflops: FP8 with 2:4 sparsity.
        fp4_tensor_sparse_tflops: FP4 with 2:4 sparsity.
        measured_matmul_bf16_tflops: best matmul measured, BF16 (FP16 where there is no BF16).
        compute_capability: of CUDA, or the gfx name for AMD.
        sms: streaming multiprocessors or compute units.
        boost_mhz: boost clock.
        nvlink_gb_per_s: GPU-to-GPU link (NVLink, Infinity Fabric), both directions; 0 means none.
        nvlink_kind: bridge, NVSwitch...
        pcie_gen: generation of the host link.
        pcie_lanes: its lanes.
        mig_instances: most MIG slices; 0 means no MIG.
        ecc: `yes`, `no` or `optional`.
        form_factor: PCIe FHFL, SXM5, OAM...
        cooling: `passive` or `active`.
        slots: width in slots.
        rt_cores: ray-tracing cores; 0 means none.
        graphics_apis: graphics interfaces that its driver offers.
        display_outputs: connectors; `none` is a fact.
        nvenc: video encoders.
        nvdec: video decoders.
        release_date: ISO 8601, day or month.
        msrp_usd: the vendor's launch price.
        msrp_date: month of that price.
        hf_price_usd: price in Hugging Face's table, neither launch nor street.
        street_usd: price in shops.
        street_date: day of that price.
    """

    slug: str
    name: str
    vendor: str
    architecture: str
    chip: str
    segment: str
    memory_label: str
    flops_sources: tuple[str, ...]
    remarks: tuple[str, ...]

    memory_gib: Fact[float]
    memory_visible_gib: Fact[float]
    memory_cuda_gib: Fact[float]
    memory_type: Fact[str]
    bandwidth_gb_per_s: Fact[float]
    bus_width_bits: Fact[int]
    memory_rate_gbps_per_pin: Fact[float]
    tdp_w: Fact[float]
    power_limit_seen_w: Fact[float]

    fp64_tflops: Fact[float]
    fp64_tensor_tflops: Fact[float]
    fp32_tflops: Fact[float]
    tf32_tensor_tflops: Fact[float]
    fp16_tensor_tflops: Fact[float]
    bf16_tensor_tflops: Fact[float]
    fp8_tensor_tflops: Fact[float]
    fp4_tensor_tflops: Fact[float]
    int8_tensor_tops: Fact[float]
    fp16_acc16_tflops: Fact[float]
    tf32_tensor_sparse_tflops: Fact[float]
    bf16_tensor_sparse_tflops: Fact[float]
    fp8_tensor_sparse_tflops: Fact[float]
    fp4_tensor_sparse_tflops: Fact[float]
    measured_matmul_bf16_tflops: Fact[float]

    compute_capability: Fact[str]
    sms: Fact[int]
    boost_mhz: Fact[float]
    nvlink_gb_per_s: Fact[float]
    nvlink_kind: Fact[str]
    pcie_gen: Fact[int]
    pcie_lanes: Fact[int]
    mig_instances: Fact[int]
    ecc: Fact[str]
    form_factor: Fact[str]
    cooling: Fact[str]
    slots: Fact[int]
    rt_cores: Fact[int]
    graphics_apis: Fact[tuple[str, ...]]
    display_outputs: Fact[str]
    nvenc: Fact[int]
    nvdec: Fact[int]

    release_date: Fact[str]
    msrp_usd: Fact[float]
    msrp_date: Fact[str]
    hf_price_usd: Fact[float]
    street_usd: Fact[float]
    street_date: Fact[str]

    @property
    def has_nvlink(self) -> bool:
        """Tell whether it has NVIDIA's NVLink; AMD's Infinity Fabric is no NVLink."""
        return self.vendor == "NVIDIA" and bool(self.nvlink_gb_per_s.value)

    @property
    def has_graphics(self) -> bool:
        """Tell whether it can render: it offers a graphics interface."""
        return bool(self.graphics_apis.value)

    @property
    def has_mig(self) -> bool:
        """Tell whether it can be split by MIG."""
        return bool(self.mig_instances.value)

    @property
    def has_video_encoder(self) -> bool:
        """Tell whether it encodes video in hardware, as streaming needs."""
        return bool(self.nvenc.value)

    def dense_tflops(self, precision: str) -> Fact[float]:
        """Return the dense peak for `fp64`, `fp32`, `tf32`, `fp16`, `bf16`, `fp8`, `fp4` or `int8`.

        On tensor cores where the precision has them, except for `fp64` and `fp32`.

        Raises:
            UnknownName: another precision.
        """
        if precision not in _DENSE:
            raise UnknownName("precision", precision, nearest(precision, _DENSE))
        fact: Fact[float] = getattr(self, _DENSE[precision])
        return fact

    def facts(self) -> dict[str, Fact[Any]]:
        """Return every fact by its name, in the order of a data sheet."""
        return {name: getattr(self, name) for name in FACTS}

    def to_dict(self) -> dict[str, Any]:
        """Return the GPU as plain data, for `--json` and the API."""
        head = {
            name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in _HEAD
        }
        return head | {"facts": {name: fact.to_dict() for name, fact in self.facts().items()}}


_HEAD = tuple(field.name for field in fields(Gpu) if not str(field.type).startswith("Fact"))
FACTS = tuple(field.name for field in fields(Gpu) if str(field.type).startswith("Fact"))
_DENSE = {
    "fp64": "fp64_tflops",
    "fp32": "fp32_tflops",
    "tf32": "tf32_tensor_tflops",
    "fp16": "fp16_tensor_tflops",
    "bf16": "bf16_tensor_tflops",
    "fp8": "fp8_tensor_tflops",
    "fp4": "fp4_tensor_tflops",
    "int8": "int8_tensor_tops",
}


@cache
def load_gpu(slug: str) -> Gpu:
    """Return the GPU of exactly this slug.

    Raises:
        UnknownName: the catalog has no such file.
        CatalogInvalid: the file is not of the schema.
    """
    if slug not in slugs("gpus"):
        raise UnknownName("GPU", slug, nearest(slug, slugs("gpus")))
    return _from_table(table(f"gpus/{slug}"))


def all_gpus() -> tuple[Gpu, ...]:
    """Return every GPU with facts, by slug."""
    return tuple(map(load_gpu, slugs("gpus")))


def find_gpu(name: str) -> Gpu:
    """Return the GPU that a person means, whatever the case, dashes and spaces.

    Raises:
        UnknownName: nothing has this name, or it fits several GPUs, or the catalog knows it only as
            something rented and has no facts of it.

    Example:
        >>> find_gpu("NVIDIA H100 SXM5").slug
        'h100-sxm'
    """
    match = match_gpu(name)
    if match.slug in slugs("gpus"):
        return load_gpu(match.slug)
    if match.is_family:
        why = f"{match.slug} is a family; name one of its {len(match.candidates)} members"
        raise UnknownName("GPU", name, match.candidates, why=why)
    if match.slug:
        why = "it is known to be rented, but no data sheet was read"
        raise UnknownName("GPU", name, why=why, hint=f"rackrate offers --gpu {match.slug}")
    raise UnknownName("GPU", name, nearest(name, gpu_names()))


def _from_table(data: dict[str, Any]) -> Gpu:
    facts: dict[str, dict[str, Any]] = data["facts"]
    if extra := (data.keys() - {*_HEAD, "facts"}) | (facts.keys() - set(FACTS)):
        raise CatalogInvalid(f"a GPU does not have {sorted(extra)}")
    return Gpu(
        slug=data["slug"],
        name=data["name"],
        vendor=data["vendor"],
        architecture=data["architecture"],
        chip=data.get("chip", ""),
        segment=data["segment"],
        memory_label=data["memory_label"],
        flops_sources=tuple(data["flops_sources"]),
        remarks=tuple(data.get("remarks", ())),
        **{name: _fact(facts[name]) if name in facts else _NOT_STATED for name in FACTS},
    )


def _fact(row: dict[str, Any]) -> Fact[Any]:
    if isinstance(row.get("value"), list):
        row = row | {"value": tuple(row["value"])}
    return Fact.from_table(row)
