"""Exports: the flags that follow from the plan, and files that the tools' own loaders take where they are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import rackrate
from rackrate.errors import NoAnswer, UnknownName, UsageError
from rackrate.fit.engine import find_engine
from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.offer import Offer
from rackrate.market.store import Store
from rackrate.plan.answer import Plan
from rackrate.plan.estimate import table
from rackrate.plan.exports import FORMS, export
from rackrate.plan.exports.names import gpu_in
from rackrate.plan.exports.server import SOFTWARE, server_for
from rackrate.plan.exports.yaml_text import to_yaml

HUB = "meta-llama/Llama-3.1-70B-Instruct"


@pytest.fixture(scope="module")
def made() -> Plan:
    """Return a plan of four L40S a machine, two copies each, in FP8."""
    return rackrate.plan(
        "llama-3.1-70b", rps=1, gpu="l40s:4", precision="fp8", kv="fp8", provider="aws", data=Store.sample()
    ).plan


@pytest.fixture
def documents(made: Plan) -> Any:
    """Return a function that exports the first row, and reads it with PyYAML."""

    def read(to: str, **other: Any) -> list[Any]:
        row = replace(made.best, **other)
        return list(yaml.safe_load_all(export(row, server_for(made, row, HUB, "bf16"), to, ("a remark",))))

    return read


def flags(args: list[str]) -> dict[str, str]:
    return dict(zip(args[::2], args[1::2], strict=True))


def test_the_flags_follow_from_the_plan(made: Plan) -> None:
    row = made.best
    found = flags(list(server_for(made, row, HUB, "bf16").args))
    assert int(found["--tensor-parallel-size"]) * int(found["--pipeline-parallel-size"]) * int(
        found["--data-parallel-size"]
    ) == row.count == 4  # fmt: skip
    assert found["--max-model-len"] == "1300"
    assert found["--max-num-seqs"] == "256"  # vLLM's default on a card of 48 GB
    assert found["--max-num-batched-tokens"] == "2048"
    assert found["--gpu-memory-utilization"] == "0.9"
    assert (found["--kv-cache-dtype"], found["--quantization"]) == ("fp8", "fp8")
    assert "--quantization" not in flags(list(server_for(made, row, "me/fp8", "fp8").args))


@pytest.mark.parametrize(("tokens", "longest"), [(300, "1300"), (301, "1301"), (300.5, "1301")])
def test_a_server_takes_the_longest_request_and_no_more(made: Plan, tokens: float, longest: str) -> None:
    asked = replace(made, question={**made.question, "output_tokens": tokens})
    assert flags(list(server_for(asked, asked.best, HUB, "bf16").args))["--max-model-len"] == longest


def test_an_old_card_is_told_to_compute_in_half(made: Plan) -> None:
    row = replace(made.best, precision="bf16")
    assert flags(list(server_for(made, row, HUB, "bf16", is_old=True).args))["--dtype"] == "half"
    assert "--dtype" not in flags(list(server_for(made, row, HUB, "bf16").args))


def test_weights_that_vllm_cannot_narrow_must_be_named(made: Plan) -> None:
    row = replace(made.best, precision="int4")
    with pytest.raises(UsageError, match="bf16 weights, the plan has int4"):
        server_for(made, row, HUB, "bf16")
    assert server_for(made, row, "me/awq", "int4").weights == "me/awq"
    with pytest.raises(NoAnswer):
        server_for(made, replace(made.best, engine="diffusers 0.35"), HUB, "bf16")


def test_sglang_has_flags_of_its_own() -> None:
    made = rackrate.plan(
        "llama-3.1-8b", rps=1, gpu="h100-sxm:1", engine="sglang", kv="fp8", data=Store.sample()
    ).plan
    server = server_for(made, made.best, HUB, made.best.precision)
    found = flags(list(server.args))
    assert server.argv[:5] == ["python3", "-m", "sglang.launch_server", "--model-path", HUB]
    assert (found["--tp-size"], found["--context-length"]) == ("1", "1300")
    assert (found["--mem-fraction-static"], found["--kv-cache-dtype"]) == ("0.88", "fp8_e4m3")
    for to in FORMS:
        assert "sglang" in export(made.best, server, to)
        assert "vllm" not in export(made.best, server, to)


def test_the_engine_is_of_the_version_that_the_plan_reckons_with(made: Plan) -> None:
    for name, software in SOFTWARE.items():
        version = find_engine(name).version
        assert software.image.rsplit(":v", 1)[1].startswith(f"{version}.")
        assert software.package.split("~=")[1].startswith(f"{version}.")
    assert made.best.engine == f"vllm {find_engine('vllm').version}"


@pytest.mark.parametrize("gpu", ["mi300x", "gaudi3", "tpu-v5e"])
def test_a_card_that_the_images_do_not_run_on_is_refused(made: Plan, gpu: str) -> None:
    with pytest.raises(NoAnswer, match=gpu):
        server_for(made, replace(made.best, gpu=gpu, taken_as=gpu), HUB, "bf16")


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("01-ai/Yi-34B", "serve-01-ai-yi-34b"),
        ("meta-llama/Llama-3.1-70B-Instruct", "meta-llama-llama-3-1-70b-instruct"),
        ("x" * 39 + "-y", "x" * 39),
        ("Modèle/é", "mod-le"),
    ],
)
def test_the_name_is_one_that_every_tool_takes(made: Plan, model: str, label: str) -> None:
    """As DNS-1035 has it: letters, digits and dashes, a letter first, no dash last."""
    asked = replace(made, question={**made.question, "model": model})
    name = server_for(asked, asked.best, HUB, "bf16").name
    assert name == label
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name)


def test_a_token_is_a_secret_by_reference_everywhere(documents: Any) -> None:
    (task,) = documents("skypilot")
    assert task["secrets"] == {"HF_TOKEN": ""}
    assert "envs" not in task
    (service,) = documents("dstack")
    assert service["env"] == ["HF_TOKEN"]
    (file,) = documents("compose")
    assert file["services"]["server"]["environment"] == {"HF_TOKEN": "${HF_TOKEN:-}"}
    (env,) = documents("kubernetes")[0]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert "value" not in env
    assert env["valueFrom"]["secretKeyRef"]["name"] == "hugging-face"


def test_a_family_may_run_on_a_node_with_any_of_its_members(documents: Any) -> None:
    deployment, _ = documents("kubernetes", gpu="h100", taken_as="h100-pcie")
    pod = deployment["spec"]["template"]["spec"]
    assert "nodeSelector" not in pod
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchExpressions"] == [
        {
            "key": "nvidia.com/gpu.product",
            "operator": "In",
            "values": ["NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-NVL", "NVIDIA-H100-PCIe"],
        }
    ]


def test_a_tool_or_a_gpu_without_a_name_is_refused(made: Plan) -> None:
    server = server_for(made, made.best, HUB, "bf16")
    with pytest.raises(UnknownName, match="terraform"):
        export(made.best, server, "terraform")
    odd = replace(made.best, gpu="mi100", taken_as="mi100")
    for to in ("skypilot", "dstack", "kubernetes"):
        with pytest.raises(UnknownName, match="mi100"):
            export(odd, server, to)


def test_skypilot_has_the_machine_and_its_copies(documents: Any) -> None:
    (task,) = documents("skypilot", machines=3, kind="spot")
    assert task["resources"]["accelerators"] == "L40S:4"
    assert task["resources"]["infra"].startswith("aws/")
    assert task["resources"]["use_spot"] is True
    assert task["service"]["replicas"] == 3
    assert f"vllm serve {HUB} " in task["run"]
    assert "service" not in documents("skypilot", machines=1)[0]


@pytest.mark.parametrize(
    ("provider", "gpu", "name"),
    [
        ("runpod", "h100-sxm", "H100-SXM"),
        ("runpod", "h100-pcie", "H100"),
        ("aws", "h100-sxm", "H100"),
        ("aws", "a100-80gb-sxm", "A100-80GB"),
        ("runpod", "a100-80gb-sxm", "A100-80GB-SXM"),
        ("azure", "h100-nvl", "H100"),
    ],
)
def test_skypilot_names_a_card_as_the_list_of_its_cloud_does(
    documents: Any, provider: str, gpu: str, name: str
) -> None:
    (task,) = documents("skypilot", provider=provider, gpu=gpu, taken_as=gpu, region="")
    assert task["resources"]["accelerators"] == f"{name}:4"
    assert task["resources"]["infra"] == provider


def test_dstack_has_count_memory_and_price(documents: Any) -> None:
    (service,) = documents("dstack", machines=2, usd_per_machine_hour=10.0)
    assert service["resources"]["gpu"] == {"name": "L40S", "memory": "48GB", "count": 4}
    assert (service["replicas"], service["max_price"], service["backends"]) == (2, 11.0, ["aws"])


def test_compose_reserves_the_gpus_of_one_machine(documents: Any) -> None:
    (file,) = documents("compose")
    (service,) = file["services"].values()
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 4, ["gpu"])
    assert service["entrypoint"][:3] == ["vllm", "serve", HUB]
    assert set(file["volumes"]) == {volume.split(":")[0] for volume in service["volumes"]}


def test_kubernetes_selects_the_card_and_finds_its_pods(documents: Any) -> None:
    deployment, service = documents("kubernetes", machines=5)
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["replicas"] == 5
    assert (
        deployment["spec"]["selector"]["matchLabels"]
        == pod["metadata"]["labels"]
        == service["spec"]["selector"]
    )
    assert pod["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L40S"}
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"nvidia.com/gpu": "4"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        v["name"] for v in pod["spec"]["volumes"]
    }


@pytest.mark.filterwarnings("ignore")  # of the tool itself
def test_dstack_loads_it(documents: Any) -> None:
    if not find_spec("dstack"):
        pytest.skip("dstack is not installed: pip install dstack")
    from dstack._internal.core.models.configurations import parse_apply_configuration  # noqa: PLC0415

    found = parse_apply_configuration(documents("dstack")[0])
    assert found.resources.gpu.count.min == 4


@pytest.mark.filterwarnings("ignore")  # of the tool itself
def test_skypilot_loads_it(documents: Any) -> None:
    if not find_spec("sky"):
        pytest.skip("SkyPilot is not installed: pip install skypilot")
    import sky  # noqa: PLC0415

    assert sky.Task.from_yaml_config(documents("skypilot")[0]).num_nodes == 1


@pytest.mark.filterwarnings("ignore")  # of the tool itself
def test_kubernetes_validates_it(documents: Any) -> None:
    if not find_spec("kubernetes_validate"):
        pytest.skip("kubernetes-validate is not installed: pip install kubernetes-validate")
    import kubernetes_validate  # noqa: PLC0415

    for document in documents("kubernetes"):
        assert kubernetes_validate.validate(document, "1.32", strict=True)


def test_skypilots_names_are_those_of_its_lists(made: Plan) -> None:
    """Of every offer that the sample has from SkyPilot's own list of a cloud, by the name in that list."""
    found = Store.sample().find(OfferFilter(), order_by("usd"))
    offers = [Offer.from_row(row) for row in found.rows]
    lists = ("skypilot-nebius", "skypilot-vast", "skypilot-verda", "skypilot-seeweb")
    named = table("exports")["skypilot"]["gpus"]
    listed = [o for o in offers if o.source in lists and o.gpu in named]
    assert len({(o.provider, o.gpu) for o in listed}) > 15
    for offer in listed:
        row = replace(made.best, gpu=offer.gpu, taken_as=offer.gpu, provider=offer.provider)
        assert gpu_in("skypilot", row) == offer.gpu_raw, (offer.provider, offer.gpu)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e6, 1e6) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_plain_data_come_back_through_yaml(data: dict[str, Any]) -> None:
    if data:
        assert yaml.safe_load(to_yaml(data)) == json.loads(json.dumps(data))


@given(st.lists(st.text("ab #:-'\"\\{}", max_size=8), min_size=2, max_size=5))
def test_scripts_come_back_through_yaml(lines: list[str]) -> None:
    text = "\n".join(["run", *(line.rstrip() for line in lines)])
    assert yaml.safe_load(to_yaml({"run": text}))["run"].rstrip("\n") == text.rstrip("\n")


def test_every_tool_writes_something(documents: Any) -> None:
    assert all(documents(to) for to in FORMS)
