"""A model on a hub, which is a server of our own here: listing, headers, rights and tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rackrate.checkpoint import hub
from rackrate.errors import DataError, ImportRejected, RackrateError, UsageError

Make = Callable[..., bytes]
Publish = Callable[..., None]
SHA = "0123456789" * 4
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def publish(server: Any, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return a function that puts files into a repository of the hub; the listing is optional."""
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")

    def published(files: Mapping[str, bytes], name: str = "acme/rocket", *, is_listed: bool = True) -> None:
        at = f"/{name}/resolve/{SHA if is_listed else 'main'}"
        server.files |= {f"{at}/{path}": content for path, content in files.items()}
        if is_listed:
            listing = {"sha": SHA, "siblings": [{"rfilename": path} for path in files]}
            server.files[f"/api/models/{name}/revision/main"] = json.dumps(listing).encode()

    return published


def sharded(make_safetensors: Make) -> dict[str, bytes]:
    return {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors.index.json": json.dumps({"weight_map": {"a": ONE, "b": TWO}}).encode(),
        ONE: make_safetensors({"a": ("BF16", [2])}),
        TWO: make_safetensors({"b": ("F8_E4M3", [4])}),
    }


def failure(what: str, **more: Any) -> RackrateError:
    with pytest.raises(RackrateError) as caught:
        hub.read(what, **more)
    assert "hf_" not in caught.value.message + caught.value.hint
    return caught.value


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_sharded_model(publish: Publish, make_safetensors: Make, server: Any, *, is_listed: bool) -> None:
    publish(sharded(make_safetensors), is_listed=is_listed)
    header = hub.read("acme/rocket")
    assert header.bytes_by_dtype() == {"BF16": 4, "F8_E4M3": 4}
    assert (header.name, header.config, header.files) == ("acme/rocket", {"model_type": "llama"}, (ONE, TWO))
    if is_listed:  # nothing is asked for in vain, and all of one commit
        assert len(server.asked) == 1 + 2 + 2 * 2
        assert all(SHA in path for path, _, _ in server.asked[1:])


def test_a_revision_is_asked_for_as_one_part_of_the_path(server: Any, publish: Publish) -> None:
    publish({})
    server.files = {"/api/models/acme/rocket/revision/refs/pr/1": b'{"siblings": []}'}
    assert failure("acme/rocket@refs/pr/1").code == "file"
    assert server.asked[0][0] == "/api/models/acme/rocket/revision/refs/pr/1"


def test_one_file_of_a_repository_with_many(publish: Publish, make_gguf: Any) -> None:
    small, large = (make_gguf()({}, {"a": (dtype, [32])}) for dtype in ("Q4_0", "Q8_0"))
    publish({"m-Q4_0.gguf": small, "Q8/m-Q8_0.gguf": large})
    error = failure("acme/rocket")
    assert "holds 2 GGUF models: Q8/m-Q8_0.gguf, m-Q4_0.gguf" in error.message
    assert hub.read("acme/rocket", file="Q8/m-Q8_0.gguf").n_bytes == 34
    assert failure("acme/rocket", file="none.gguf").code == "file"
    assert failure("acme/rocket", file="../other/m.gguf").code == "import-rejected"


def test_what_is_not_there(publish: Publish) -> None:
    publish({"README.md": b"#"})
    assert failure("acme/rocket").code == "file"
    assert failure("acme/nothing").code == "file"
    publish({"pytorch_model.bin": b"PK", "config.json": b"{}"}, "acme/old")
    assert "pytorch_model.bin is a pickle" in failure("acme/old").message


def test_a_gated_model_wants_a_token_and_says_so(
    publish: Publish, make_safetensors: Make, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(sharded(make_safetensors))
    server.token = "hf_right"  # noqa: S105 - no secret
    error = failure("acme/rocket")
    assert error.code == "gated"
    assert error.message == "acme/rocket is gated, private or not there (HTTP 401): no token was sent"
    assert "HF_TOKEN" in error.hint
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "the token in use may not read it" in failure("acme/rocket").message
    monkeypatch.setenv("HF_TOKEN", " hf_right\n")
    assert hub.read("acme/rocket").n_bytes == 8


@pytest.mark.parametrize("where", ["home", "HF_HOME", "HF_TOKEN_PATH", "XDG_CACHE_HOME"])
def test_the_token_that_the_hubs_tools_have_stored_is_used(
    publish: Publish, make_safetensors: Make, server: Any, tmp_path: Path, own_home: Path,
    monkeypatch: pytest.MonkeyPatch, where: str,
) -> None:  # fmt: skip
    path = {
        "home": own_home / ".cache/huggingface/token",
        "XDG_CACHE_HOME": tmp_path / "huggingface/token",
    }.get(where, tmp_path / "token")
    if where != "home":
        monkeypatch.setenv(where, str(path if where == "HF_TOKEN_PATH" else tmp_path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hf_stored\n")
    server.token = "hf_stored"  # noqa: S105 - no secret
    publish(sharded(make_safetensors))
    assert hub.read("acme/rocket").n_bytes == 8


def test_a_token_that_cannot_be_one_is_neither_sent_nor_shown(
    publish: Publish, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish({})
    for wrong in ("hf_a b", "hf_a\nX-Evil: 1", "hf_é", "hf_" + "x" * 5000):
        monkeypatch.setenv("HF_TOKEN", wrong)
        assert failure("acme/rocket").code == "gated"
    assert not server.asked


def test_the_token_stays_with_the_hub_when_files_lie_elsewhere(
    publish: Publish, make_safetensors: Make, server: Any, other_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_server.files = {"/cdn/1?X-Signature=s": make_safetensors({"a": ("F32", [2])})}
    moved = (302, {"Location": f"{other_server.url}/cdn/1?X-Signature=s"}, b"")
    publish({"model.safetensors": moved})
    server.token = "hf_right"  # noqa: S105 - no secret
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert hub.read("acme/rocket").n_bytes == 8
    assert {token for _, _, token in server.asked} == {"Bearer hf_right"}
    assert {token for _, _, token in other_server.asked} == {None}
    assert {wanted[:8] for _, wanted, _ in other_server.asked} == {"bytes=0-", "bytes=8-"}


@pytest.mark.parametrize(
    "what",
    ["", "rocket", "a/b/c", "../b", "a/..", "a/b@", "a/b@x y", "/etc/passwd", "a/b?x", "a\n/b", "a/b@../c"],
)
def test_ids_that_are_none(what: str) -> None:
    with pytest.raises(UsageError, match="not the id of a model"):
        hub.read(what)


@pytest.mark.parametrize("endpoint", ["ftp://hub", "hub.example", "https://me:hf_pw@hub"])
def test_endpoints_that_are_none(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert failure("acme/rocket").code == "usage"


@pytest.mark.parametrize(
    ("listing", "error"),
    [
        (b"[]", ImportRejected),
        (b"<html>", ImportRejected),
        (b'{"siblings": 7}', DataError),
        (b'{"siblings": [7, {}, {"rfilename": 7}, {"rfilename": "../x.safetensors"}]}', DataError),
    ],
)
def test_listings_that_are_none(
    publish: Publish, server: Any, listing: bytes, error: type[RackrateError]
) -> None:
    publish({})
    server.files = {"/api/models/acme/rocket/revision/main": listing}
    assert isinstance(failure("acme/rocket"), error)
