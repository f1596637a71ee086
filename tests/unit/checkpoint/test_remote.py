"""Files on web servers: only headers travel, and a server that misbehaves ends in one error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from rackrate.checkpoint import read
from rackrate.checkpoint.remote import Session, WebFile, WebFolder, check_address, origin_of, shown
from rackrate.checkpoint.source import clip
from rackrate.errors import DataError, ImportRejected, RackrateError, UsageError

Make = Callable[..., bytes]
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def failure(url: str) -> RackrateError:
    with pytest.raises(RackrateError) as caught:
        read(url)
    assert caught.value.code in ("network", "file", "gated", "import-rejected", "usage")
    assert len(caught.value.message) < 300
    return caught.value


def test_of_a_file_eight_bytes_and_the_header_travel(server: Any, make_safetensors: Make) -> None:
    raw = make_safetensors({"a": ("F32", [1000, 1000])})
    server.files = {"/m.safetensors": raw, "/config.json": b'{"model_type": "llama"}'}
    header = read(f"{server.url}/m.safetensors")
    assert (header.n_bytes, header.config, header.name) == (
        4_000_000,
        {"model_type": "llama"},
        "m.safetensors",
    )
    asked = [wanted for path, wanted, _ in server.asked if path == "/m.safetensors"]
    assert set(asked) == {"bytes=0-7", f"bytes=8-{len(raw) - 4_000_001}"}


def test_a_signed_address_keeps_its_query_and_no_message_shows_it(
    server: Any, make_safetensors: Make
) -> None:
    server.files = {"/m.safetensors?sig=secret": make_safetensors({"a": ("I8", [3])})}
    assert read(f"{server.url}/m.safetensors?sig=secret").n_bytes == 3
    assert "secret" not in failure(f"{server.url}/none.safetensors?sig=secret").message


@pytest.mark.parametrize("what", ["", "/", "/model.safetensors.index.json", f"/{TWO}"])
def test_a_folder_by_its_index(server: Any, make_safetensors: Make, what: str) -> None:
    server.files = {
        f"/llama/{ONE}": make_safetensors({"a": ("BF16", [2])}),
        f"/llama/{TWO}": make_safetensors({"b": ("BF16", [4])}),
        "/llama/model.safetensors.index.json": json.dumps({"weight_map": {"a": ONE, "b": TWO}}).encode(),
        "/llama/config.json": b"{}",
    }
    header = read(f"{server.url}/llama{what}")
    assert [(tensor.name, tensor.n_bytes) for tensor in header.tensors] == [("a", 4), ("b", 8)]


def test_a_pipeline_is_found_by_asking(server: Any, make_safetensors: Make) -> None:
    listing = {"unet": ["diffusers", "U"], "vae": ["diffusers", "V"], "tokenizer": ["transformers", "T"]}
    server.files = {
        "/sd/model_index.json": json.dumps(listing).encode(),
        "/sd/unet/config.json": b"{}",
        "/sd/unet/diffusion_pytorch_model.fp16.safetensors": make_safetensors({"a": ("F16", [2])}),
        "/sd/vae/config.json": b"{}",
        "/sd/vae/diffusion_pytorch_model.safetensors": make_safetensors({"a": ("F32", [2])}),
    }
    assert read(f"{server.url}/sd").bytes_by_component() == {"vae": 8, "unet": 4}
    del server.files["/sd/vae/diffusion_pytorch_model.safetensors"]
    assert failure(f"{server.url}/sd").message.endswith(
        "/sd/vae holds no weights: no .safetensors and no .gguf file"
    )


def test_what_holds_only_pickles_or_nothing_is_said_so(server: Any) -> None:
    server.files = {"/m/config.json": b"{}"}
    assert failure(f"{server.url}/m").code == "file"
    server.files["/m/pytorch_model.bin"] = b"PK\x03\x04"
    assert "is a pickle" in failure(f"{server.url}/m").message


def test_a_long_gguf_header_comes_in_growing_pieces(server: Any, make_gguf: Any) -> None:
    metadata = {"tokens": [f"token number {number}" for number in range(20_000)]}
    raw = make_gguf()(metadata, {"a": ("Q4_K", [4000, 2560])})
    server.files = {"/m.gguf": raw}
    assert read(f"{server.url}/m.gguf").n_bytes == 5_760_000
    pieces = [wanted for _, wanted, _ in server.asked]
    assert len(pieces) <= 6
    assert max(int(piece.rpartition("-")[2]) for piece in pieces) < 2 * (len(raw) - 5_760_000)


def test_a_split_set_on_a_server(server: Any, make_gguf: Any) -> None:
    for number in range(2):
        metadata = {"split.no": number, "split.count": 2, "split.tensors.count": 2}
        raw = make_gguf()(metadata, {f"t{number}": ("F32", [8])})
        server.files[f"/q/m-0000{number + 1}-of-00002.gguf"] = raw
    assert read(f"{server.url}/q/m-00002-of-00002.gguf").n_bytes == 64


def test_a_cut_off_file_is_known_by_the_size_that_the_server_states(
    server: Any, make_safetensors: Make, make_gguf: Any
) -> None:
    server.files = {
        "/m.safetensors": make_safetensors({"a": ("F32", [1000])})[:-1],
        "/m.gguf": make_gguf()({}, {"a": ("F32", [1000])})[:-1],
        "/empty.safetensors": b"",
        "/short.safetensors": b"1234",
    }
    for path in server.files:
        assert "cut off" in failure(server.url + path).message


def test_a_server_without_ranges_is_read_from_the_front_and_left(server: Any, make_safetensors: Make) -> None:
    server.mode = "no-range"
    server.files = {"/m.safetensors": make_safetensors({"a": ("F32", [1000])})}
    assert read(f"{server.url}/m.safetensors").n_bytes == 4000


@pytest.mark.parametrize(
    ("mode", "code", "why"),
    [
        ("cut", "network", "broke off"),
        ("wrong-range", "import-rejected", "another range"),
        ("gzip", "import-rejected", "compresses"),
        ("grow", "import-rejected", "changed while it was read"),
    ],
)
def test_a_server_that_misbehaves(
    server: Any, make_safetensors: Make, mode: str, code: str, why: str
) -> None:
    server.mode = mode
    server.files = {"/m.safetensors": make_safetensors({"a": ("F32", [1000])})}
    error = failure(f"{server.url}/m.safetensors")
    assert (error.code, why in error.message) == (code, True)


@pytest.mark.parametrize("status", [400, 416, 429, 500, 503, 204, 302, 304])
def test_a_status_that_is_no_answer(server: Any, status: int) -> None:
    server.files = {"/m.safetensors": (status, {}, b"")}
    assert failure(f"{server.url}/m.safetensors").code in ("network", "import-rejected")


@pytest.mark.parametrize("status", [401, 403])
def test_a_file_that_wants_rights(server: Any, status: int) -> None:
    server.files = {"/m.safetensors": (status, {}, b"")}
    error = failure(f"{server.url}/m.safetensors")
    assert (error.code, str(status) in error.message) == ("gated", True)


@pytest.mark.parametrize("mode", ["silent", "slow"])
def test_a_server_that_never_ends_is_left_in_time(
    server: Any, make_safetensors: Make, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr("rackrate.checkpoint.remote.SLOWEST_BYTES_PER_S", 1e9)
    server.mode = mode
    server.files = {"/m.safetensors": make_safetensors({"a": ("F32", [10])}, pad=5000)}
    began = time.monotonic()
    with pytest.raises(DataError) as caught:
        WebFile(Session(timeout_s=0.3), f"{server.url}/m.safetensors", "m").read_at(8, 5000)
    assert caught.value.code == "network"
    assert "in time" in caught.value.message
    assert time.monotonic() - began < 3


def test_nobody_there() -> None:
    error = failure("http://127.0.0.1:9/m.safetensors")  # the discard port: nobody listens
    assert (error.code, "refused" in error.message) == ("network", True)


def test_redirects_are_followed_but_not_for_ever(
    server: Any, other_server: Any, make_safetensors: Make
) -> None:
    raw = make_safetensors({"a": ("F32", [10])})
    other_server.files = {"/blob": raw}
    for status in (301, 302, 303, 307, 308):
        server.files = {"/m.safetensors": (status, {"Location": f"{other_server.url}/blob"}, b"x" * 999)}
        assert read(f"{server.url}/m.safetensors").n_bytes == 40
    server.files = {"/m.safetensors": (302, {"Location": "/m.safetensors"}, b"")}
    assert "redirects" in failure(f"{server.url}/m.safetensors").message


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher:x", "http://[", "http://a b/", "//", "http://ü\x01/"],
)
def test_redirects_lead_to_web_servers_only(server: Any, location: str) -> None:
    server.files = {"/m.safetensors": (302, {"Location": location.encode().decode("latin-1")}, b"")}
    assert failure(f"{server.url}/m.safetensors").code == "network"


def test_https_is_not_left_for_http(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.error  # noqa: PLC0415 - what is feigned here
    from email.message import Message  # noqa: PLC0415 - the same

    headers = Message()
    headers["Location"] = "http://example.invalid/blob"

    def redirect(*_: object, **__: object) -> None:
        raise urllib.error.HTTPError("https://example.invalid/x", 302, "Found", headers, None)

    monkeypatch.setattr("rackrate.checkpoint.remote._OPENER.open", redirect)
    with pytest.raises(DataError, match="an https address leads to an unprotected one"):
        Session().fetch("https://example.invalid/x", 0, 8)


def test_a_token_goes_to_its_origin_alone(server: Any, other_server: Any, make_safetensors: Make) -> None:
    other_server.files = {"/blob": make_safetensors({"a": ("F32", [10])})}
    server.token = "hf_secret"  # noqa: S105 - no secret
    server.files = {
        "/m.safetensors": (307, {"Location": "/renamed/m.safetensors"}, b""),
        "/renamed/m.safetensors": (302, {"Location": f"{other_server.url}/blob"}, b""),
    }
    session = Session(token="hf_secret", origin=origin_of(server.url))  # noqa: S106 - no secret
    assert WebFile(session, f"{server.url}/m.safetensors", "m").size
    assert [token for _, _, token in server.asked] == ["Bearer hf_secret"] * 2
    assert [token for _, _, token in other_server.asked] == [None]
    assert "hf_secret" not in repr(session)


@pytest.mark.parametrize(
    "url",
    ["http://", "https:///x", "http://[::1/x", "http://host:99999/x", "http://host:0/", "http://a b/x",
     "http://host/\nx", "http://user:pass@host/m.gguf", "HTTP://user@host/"],
)  # fmt: skip
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(url)
    assert "pass" not in caught.value.message.replace("password", "")


def test_addresses_are_shown_without_what_is_secret() -> None:
    assert shown("https://me:pw@host:8/a/b.gguf?sig=1#x") == "https://host:8/a/b.gguf"
    assert len(shown("https://host/" + "x" * 999)) <= 80
    assert clip("a\x1b[31m\n" + "é") == "a?[31m?é"
    check_address("http://127.0.0.1:80/x")
    with pytest.raises(UsageError):
        WebFolder("ftp://host/x")


def test_a_json_file_without_end_is_left(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rackrate.checkpoint.source.whole.__defaults__", (1000,))
    server.files = {"/m/model_index.json": b" " * 5000}
    error = failure(f"{server.url}/m")
    assert (type(error), "larger than" in error.message) == (ImportRejected, True)
