"""How the site speaks HTTP: validators, compression, limits, errors, what is open."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rackrate.upkeep import import_prices
from rackrate.web.front import Allowance


def test_an_answer_is_validated_compressed_and_kept(site: Any) -> None:
    first = site.get("/gpus/l40s")
    assert "content-encoding" not in first.headers
    assert first.headers["cache-control"] == "public, max-age=60, stale-while-revalidate=600"
    again = site.get("/gpus/l40s", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    zipped = site.get("/gpus/l40s", Accept_Encoding="gzip")
    assert zipped.headers["etag"] != first.headers["etag"]
    assert zipped.body == first.body
    assert int(zipped.headers["content-length"]) < 20_000
    assert site.get("/gpus/l40s?range=7d").headers["etag"] != first.headers["etag"]


def test_validators_come_in_lists_and_a_refused_encoding_is_not_sent(site: Any) -> None:
    first = site.get("/gpus/l40s")
    tag = first.headers["etag"]
    for known in (f'"other", {tag}', f"W/{tag}", f'{tag} , W/"x"', "*"):
        assert site.get("/gpus/l40s", If_None_Match=known).status == 304, known
    for other in ('"other"', tag.replace('"', ""), f'"x{tag[1:]}', '""'):
        assert site.get("/gpus/l40s", If_None_Match=other).status == 200, other
    for encoding in ("gzip;q=0", "gzip; q=0.000, identity", "identity", "br"):
        plain = site.get("/gpus/l40s", Accept_Encoding=encoding)
        assert "content-encoding" not in plain.headers, encoding
        assert "Accept-Encoding" in plain.headers["vary"]
    assert site.get("/gpus/l40s", Accept_Encoding="br, gzip;q=0.5").headers["content-encoding"] == "gzip"
    assert site.get("/gpus/l40s", Range="bytes=0-9").body == first.body


def raw(site: Any, path: str, *lines: str) -> tuple[int, bytes, bytes]:
    """Send header lines just as they are; return status, head and body."""
    host, _, port = site.address.removeprefix("http://").partition(":")
    asked = "\r\n".join((f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines, "", ""))
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(asked.encode())
        with line.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


def test_nobody_decides_for_others_in_which_form_a_page_is_kept(site: Any) -> None:
    path = "/gpus/t4?kind=spot"
    first = raw(site, path, "Accept: text/markdown", "Accept: text/html")
    second = raw(site, f"{path}&range=7d", "Accept: text/html", "Accept: text/markdown")
    assert (first[2][:2], second[2][:2]) == (b"# ", b"<!")
    assert site.get(path, Accept="text/html").text.startswith("<!doctype html>")
    assert site.get(f"{path}&range=7d", Accept="text/markdown").text.startswith("# ")


def test_a_header_on_several_lines_is_one_list(site: Any) -> None:
    tag = site.get("/gpus/l40s.json").headers["etag"]
    status, _, _ = raw(site, "/gpus/l40s.json", f"If-None-Match: {tag}", 'If-None-Match: "other"')
    assert status == 304
    _, head, _ = raw(site, "/gpus/l40s.json", "Accept-Encoding: gzip", "Accept-Encoding: br")
    assert b"content-encoding: gzip" in head
    _, head, _ = raw(site, "/gpus/l40s.json", "Accept-Encoding: gzip;Q=0")
    assert b"content-encoding" not in head


def test_what_may_be_asked_from_pages_of_other_sites_is_told(site: Any) -> None:
    for path, methods in (("/api/v1/gpus", "GET, HEAD"), ("/api/v1/plan", "GET, HEAD, POST")):
        told = site.get(path, method="OPTIONS", Origin="https://example.org")
        assert (told.status, told.body) == (204, b"")
        assert told.headers["access-control-allow-origin"] == "*"
        assert told.headers["access-control-allow-methods"] == methods
        assert "content-type" in told.headers["access-control-allow-headers"]
    agents = site.get("/mcp", method="OPTIONS", Origin="https://example.org")
    assert (agents.status, agents.headers["allow"]) == (204, "POST, OPTIONS")
    assert not any(name.startswith("access-control") for name in agents.headers)
    assert site.get("/nowhere", method="OPTIONS").status == 404


def test_another_method_is_a_problem_that_names_those_allowed(site: Any) -> None:
    for path, allowed in (("/gpus/l40s.json", "GET, HEAD, OPTIONS"), ("/api/v1/gpus", "GET, HEAD, OPTIONS"),
                          ("/api/v1/plan", "GET, HEAD, POST, OPTIONS")):  # fmt: skip
        found = site.get(path, method="PATCH", data=b"{}")
        assert (found.status, found.json["code"]) == (405, "bad-method")
        assert found.headers["content-type"] == "application/problem+json"
        assert found.headers["allow"] == allowed


def test_head_is_get_without_a_body(site: Any) -> None:
    got, head = site.get("/models"), site.get("/models", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(got.body))


def test_markdown_may_be_asked_for_by_accept(site: Any) -> None:
    found = site.get("/gpus/l40s", Accept="text/markdown")
    assert found.text.startswith("# NVIDIA L40S")
    assert "Accept" in found.headers["vary"]


def test_every_answer_has_the_headers_of_security(site: Any) -> None:
    for path in ("/", "/nowhere", "/api/v1/gpus", "/api/v1/nowhere", "/healthz"):
        headers = site.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_what_draws_charts_is_ours_kept_for_ever_and_in_no_page(site: Any) -> None:
    page = site.get("/gpus/l40s").text
    found = re.search(r'data-drawer="(/static/[^"]+/vega\.js)"', page)
    assert found
    assert f'src="{found[1]}"' not in page
    script = site.get(found[1], Accept_Encoding="gzip")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-type"].startswith("text/javascript")
    assert int(script.headers["content-length"]) < 350_000
    assert "expressionInterpreter" in script.text


@pytest.mark.parametrize(
    ("path", "code"),
    [("/methodology/month.vl", "no-chart"), ("/gpus/l40s.vl?chart=2", "no-chart"),
     ("/gpus/l40s.vl?chart=0", "bad-quantity"), ("/gpus/l40s.json?chart=1", "unknown-field")],
)  # fmt: skip
def test_a_chart_that_a_page_does_not_have_is_an_error(site: Any, path: str, code: str) -> None:
    found = site.get(path)
    assert (found.status, found.json["code"]) == (400, code)


def test_an_unknown_name_leads_to_the_nearest(site: Any) -> None:
    page = site.get("/gpus/l40z", Accept="text/html")
    assert page.status == 404
    assert '<a href="/gpus/l40s">l40s</a>' in page.text
    problem = site.get("/gpus/l40z.json")
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json["code"] == "unknown-gpu"
    assert site.get(problem.json["type"]).status == 200
    assert site.get("/gpus/h100").text.count('<a href="/gpus/h100-') >= 3


def test_another_name_of_a_gpu_moves_to_its_slug(site: Any) -> None:
    found = site.get("/gpus/NVIDIA%20L40S/models?q=llama")
    assert (found.status, found.headers["location"]) == (301, "/gpus/l40s/models?q=llama")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/offers?vrm_gib=40", "did you mean <code>vram_gib</code>?"),
        ("/offers?vram_gib=much", "vram"),
        ("/offers?kind=sport", "spot"),
        ("/offers?gpu=2x+L40S", "write l40s:2"),
        ("/plan?model=llama-3.1-8b&rps=1&gpu=2x+L40S", "write l40s:2"),
        ("/gpus/l40s?hours_per_month=9000", "hours_per_month"),
        ("/gpus/l40s?hours_per_day=99", "hours of use"),
        ("/gpus/l40s/models?page=0", "page"),
        ("/gpus/l40s/models?precision=int9", "unknown precision 'int9'"),
        ("/models?sort=beauty", "beauty"),
        ("/plan?model=llama-3.1-8b&rps=-1", "rps"),
        ("/rent-or-own?pue=0", "pue"),
    ],
)
def test_a_bad_value_is_400_and_names_the_field(site: Any, path: str, names: str) -> None:
    page = site.get(path, Accept="text/html")
    assert page.status == 400
    assert names in page.text.replace("&#39;", "'")


@pytest.mark.parametrize(
    "path", ["/gpus/l40s?hours_per_day=99", "/gpus/l40s/models?context=abc&precision=fp8"]
)
def test_a_bad_value_leaves_the_page_and_what_else_was_said(site: Any, path: str) -> None:
    page = site.get(path, Accept="text/html")
    assert page.status == 400
    assert page.text.count('class="problem"') == 1
    assert page.text.count('aria-invalid="true"') == 1
    assert '<nav class="tabs"' in page.text
    kept = (
        '<option value="fp8" selected>'
        if "models" in path
        else 'name="price_usd" type="text" inputmode="decimal" value="9749.95"'
    )
    assert kept in page.text
    assert site.get(path.replace("?", ".json?")).status == 400


@pytest.mark.parametrize("tab", ["instances", "history"])
def test_a_gpu_that_nobody_offers_has_all_its_tabs(site: Any, tab: str) -> None:
    page = site.get(f"/gpus/a2/{tab}", Accept="text/html")
    assert page.status == 200
    assert '<nav class="tabs"' in page.text
    assert page.text.count('class="problem"') == 1
    assert "without" not in page.text
    assert site.get(f"/gpus/a2/{tab}.json").status == 404


@pytest.mark.parametrize(
    ("path", "place"), [("/gpus", "/"), ("/api/v1", "/api"), ("/api/v1/", "/api"), ("/api/v1/docs", "/api")]
)
def test_what_people_guess_leads_to_what_they_mean(site: Any, path: str, place: str) -> None:
    found = site.get(path)
    assert (found.status, found.headers["location"]) == (301, place)
    assert site.get(place).status == 200


def test_what_other_sites_hang_on_a_shared_link_asks_nothing(site: Any) -> None:
    shared = site.get("/gpus/l40s?utm_source=news&fbclid=abc&kind=spot")
    assert shared.status == 200
    assert "utm_source" not in shared.text
    assert shared.text == site.get("/gpus/l40s?kind=spot").text
    assert site.get("/gpus/l40s?source=news").status == 400


HOSTILE = (
    "%3Cscript%3Ealert(1)%3C/script%3E", "'%20OR%201=1--", "..%2F..%2Fetc%2Fpasswd", "/etc/passwd", "%00",
    "9" * 190, "1e999", "-1", "NaN", "%F0%9F%A6%94", "{{7*7}}", "hf:a/b", "http://127.0.0.1:1/x",
    "x" * 5000, "%0d%0aSet-Cookie:a=b", "../pyproject.toml", "💥".encode().hex(),
)  # fmt: skip
PLACES = (
    "/gpus/{}", "/models/{}", "/models/{}/on/l40s", "/models/llama-3.1-8b/on/{}", "/providers/{}",
    "/errors/{}", "/methodology/{}", "/offers?gpu={}", "/offers?sort={}", "/offers?region={}",
    "/offers?vram_gib={}", "/plan?model={}", "/plan?model=llama-3.1-8b&rps={}", "/plan?sweep={}",
    "/plan?workload={}", "/rent-or-own?gpu={}", "/rent-or-own?price_usd={}", "/rent-or-own?place={}",
    "/compare?gpu=l40s&gpu={}", "/gpus/l40s/models?q={}", "/models/llama-3.1-8b/on/l40s?context={}",
    "/models/llama-3.1-8b/on/l40s?precision={}", "/models/llama-3.1-8b/on/l40s?engine={}", "/faq?gpu={}",
    "/api/v1/gpus/{}", "/api/v1/offers?cursor={}", "/api/v1/models/{}/fit", "/api/v1/perf?model={}",
    "/api/v1/gpus/l40s/history?from={}", "/embed/gpus/{}/history.svg",
    "/embed/gpus/{}/history.png", "/feeds/gpus/{}.atom", "/{}",
    "/static/x/{}",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_hostile_words_are_never_our_fault_and_never_come_back_raw(site: Any, place: str) -> None:
    for word in HOSTILE:
        found = site.get(place.format(word.replace("{", "%7B").replace("}", "%7D")))
        assert found.status < 500, (word, found.text[:200])
        if found.headers.get("content-type", "").startswith("text/html"):
            assert b"<script>alert" not in found.body
        assert b"root:" not in found.body
        assert b"[build-system]" not in found.body
        assert "set-cookie" not in found.headers


def test_only_reading_is_allowed_and_a_body_has_a_limit(site: Any) -> None:
    assert site.get("/offers", method="POST", data=b"x").status == 405
    assert site.get("/gpus/l40s", method="DELETE").status == 405
    large = site.get("/api/v1/plan", method="POST", data=b"x" * 70_000)
    assert (large.status, large.json["code"]) == (413, "too-large")


def test_health_and_counts_are_told(site: Any) -> None:
    site.get("/about")
    site.get("/about")
    assert site.get("/healthz").text == "ok\n"
    assert site.get("/readyz").json["ready"] is True
    counts = site.get("/metrics").text
    assert 'rackrate_requests_total{kept="yes",status="200"}' in counts
    assert "rackrate_newest_price_timestamp_seconds 1.78" in counts


def test_a_client_that_asks_for_too_much_waits(serve: Any) -> None:
    with serve("--rate", "3") as client:
        met = [client.get(f"/gpus/l40s/models?page={page}") for page in range(1, 6)]
        assert [answer.status for answer in met[:3]] == [200, 200, 200]
        assert met[4].status == 429
        assert met[4].headers["retry-after"] == "30"
        assert client.get("/gpus/l40s/models?page=1").status == 200, "what is kept costs nothing"
        assert client.get("/healthz").status == 200


def test_an_allowance_comes_back_with_time() -> None:
    allowance = Allowance(60)
    assert all(allowance.take("a", 0.0) for _ in range(60))
    assert not allowance.take("a", 0.5)
    assert allowance.take("b", 0.5)
    assert allowance.take("a", 2.0)


def test_without_prices_every_page_says_why(serve: Any, tmp_path: Path) -> None:
    with serve("--data", str(tmp_path / "none")) as client:
        page = client.get("/gpus/l40s", Accept="text/html")
        assert page.status == 503
        assert page.headers["retry-after"] == "30"
        assert "holds no market data" in page.text
        assert client.get("/api/v1/gpus").json["code"] == "no-market-data"
        assert client.get("/readyz").status == 503
        assert client.get("/healthz").status == 200


def test_data_that_break_or_change_under_load_fail_no_request(serve: Any, tmp_path: Path) -> None:
    store = tmp_path / "market"
    import_prices(None, form="sample", data=store)
    manifest = store / "manifest.json"
    whole = manifest.read_bytes()
    with serve("--data", str(store), "--rate", "0") as client:
        assert client.get("/").status == 200
        is_done, bad = threading.Event(), []

        def load() -> None:
            n = 0
            while not is_done.is_set():
                n += 1
                found = client.get(f"/gpus/l40s/models?page={n % 7 + 1}")
                if found.status != 200:
                    bad.append(found.status)

        reader = threading.Thread(target=load)
        reader.start()
        try:
            manifest.write_bytes(whole[: len(whole) // 2])
            behind = client.get("/")
            assert behind.status == 200
            assert "The newest data cannot be read" in behind.text
            fresh = store / "new.json"
            fresh.write_bytes(whole)
            fresh.replace(manifest)
            os.utime(manifest)
            assert "The newest data cannot be read" not in client.get("/").text
        finally:
            is_done.set()
            reader.join()
        assert bad == []


def test_other_machines_are_kept_out_unless_said_otherwise() -> None:
    command = [sys.executable, "-m", "rackrate", "serve", "--host", "0.0.0.0"]  # noqa: S104 - it is refused
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 6
    assert "--public" in done.stderr


def test_any_address_of_this_machine_will_do(serve: Any) -> None:
    with serve("--host", "127.0.0.2") as client:
        assert client.get("/healthz").status == 200
