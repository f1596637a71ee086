"""Is what is asked of a cloud, and what it answers, as the provider publishes it?

The documents stand beside a clone and are no part of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from rackrate.fleet.backends.api import Provider
from rackrate.testing.clouds.cloud import Exchange

FILES = {"RunPod": "runpod_v2.json", "Vast.ai": "vast.yaml"}
UNDOCUMENTED = {("Vast.ai", 500), ("Vast.ai", 401), ("Vast.ai", 429)}
"""Answers that the document lacks and the provider gives: Vast names no 500, 401 and 429 not everywhere."""


class Document:
    """What a provider publishes.

    Args:
        folder: with the documents.
        provider: whose.
        json_type: of its answers that are no success.
    """

    def __init__(self, folder: Path, provider: Provider, json_type: str) -> None:
        path = folder / FILES[provider.name]
        text = path.read_text("utf-8")
        found = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=yaml.CSafeLoader)
        problems: dict[str, Callable[[bytes], Any]] = {"application/problem+json": json.loads}
        self._api = OpenAPI.from_dict(found, config=Config(extra_media_type_deserializers=problems))
        self._provider = provider
        self._json_type = json_type

    def check_request(self, one: Exchange) -> None:
        """Hold a request against it.

        Raises:
            OpenAPIError: it is not as published.
        """
        self._api.validate_request(self._request(one))

    def check_response(self, one: Exchange) -> None:
        """Hold an answer against it.

        Raises:
            OpenAPIError: it is not as published.
        """
        if (self._provider.name, one.reply.status) in UNDOCUMENTED:
            return
        reply = one.reply
        kind = self._json_type if reply.status >= 400 else "application/json"  # noqa: PLR2004
        data = b"" if reply.body is None else json.dumps(reply.body).encode()
        response = MockResponse(data, reply.status, dict(reply.headers), kind)
        self._api.validate_response(self._request(one), response)

    def trouble(self, one: Exchange, *, is_ours: bool) -> str:
        """Return what is not as published; empty where all is.

        Args:
            one: what was asked and answered.
            is_ours: whether our client asked; else the request may be anything.
        """
        try:
            if is_ours:
                self.check_request(one)
            self.check_response(one)
        except OpenAPIError as error:
            cause = error.__cause__ or error
            wrong = [str(one.message) for one in getattr(cause, "schema_errors", ())] or [str(cause)]
            where = f"{one.request.method} {one.request.path} {one.reply.status}"
            return f"{where}: {type(error).__name__}: {'; '.join(wrong)}"
        return ""

    def _request(self, one: Exchange) -> MockRequest:
        request = one.request
        return MockRequest(
            self._provider.url,
            request.method.lower(),
            request.path,
            args=request.query,
            headers={"Authorization": "Bearer x"},
            data=None if request.body is None else json.dumps(request.body).encode(),
            content_type="application/json",
        )
