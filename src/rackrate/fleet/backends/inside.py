"""How does a rented machine end its own bill, from inside?

When a node is over, its processes are gone but its machine is not: a provider bills a machine that does
nothing. RunPod and Vast give each machine a key that may end this machine and nothing else. `boot` takes
it out of the environment before anything of the user's runs, and uses it when the node is over. Only the
standard library: this runs in any image.
"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_PATIENCE_S = 10.0
_WAITS_S = (0.2, 1.0, 3.0, 10.0, 30.0)
"""After each try; after the last the machine's program ends, and what then happens is the provider's."""
_DONE = (404, 410)


@dataclass(frozen=True, slots=True)
class Inside:
    """How machines of a provider end themselves.

    Attributes:
        machine_variable: has the machine's id.
        key_variable: has the key for this machine alone.
        url_variable: has another URL of the API, in tests.
        url: of the API.
        path: of the machine, for DELETE.
    """

    machine_variable: str
    key_variable: str
    url_variable: str
    url: str
    path: str


PROVIDERS = (
    Inside("RUNPOD_POD_ID", "RUNPOD_API_KEY", "RACKRATE_RUNPOD_URL", "https://api.runpod.io", "/v2/pods/{}"),
    Inside(
        "CONTAINER_ID",
        "CONTAINER_API_KEY",
        "RACKRATE_VAST_URL",
        "https://console.vast.ai",
        "/api/v0/instances/{}",
    ),
)


KEYS = tuple(provider.key_variable for provider in PROVIDERS)
"""Variables that nothing of the user's may see."""


def machine_of(env: Mapping[str, str]) -> dict[str, str]:
    """Return the provider's id of this machine, for its keeper to know: `{"machine": ...}`, or nothing."""
    found = [env[one.machine_variable] for one in PROVIDERS if one.machine_variable in env]
    return {"machine": found[0]} if found else {}


def farewell(env: Mapping[str, str]) -> Callable[[], bool]:
    """Return what ends this machine, given its environment, and tells whether it did.

    On a machine that has no such key it does nothing.
    """
    request = _request(env)
    return (lambda: _ended(request)) if request else (lambda: False)


def ask_to_end(env: Mapping[str, str]) -> bool:
    """Ask once for the end of the machine of an environment; tell whether the answer is yes."""
    request = _request(env)
    return request is not None and _is_granted(request)


def _request(env: Mapping[str, str]) -> urllib.request.Request | None:
    for provider in PROVIDERS:
        machine, key = env.get(provider.machine_variable), env.get(provider.key_variable)
        if machine and key:
            url = env.get(provider.url_variable, provider.url).rstrip("/") + provider.path.format(machine)
            return urllib.request.Request(  # noqa: S310 - the provider's URL
                url, method="DELETE", headers={"Authorization": f"Bearer {key}"}
            )
    return None


def _ended(request: urllib.request.Request) -> bool:
    """Ask for the end of this machine again and again: a yes is no proof while this still runs."""
    is_granted = False
    for wait_s in _WAITS_S:
        is_granted = _is_granted(request) or is_granted
        time.sleep(wait_s)
    return is_granted


def _is_granted(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S):  # noqa: S310 - as above
            return True
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _DONE:
            return True
        sys.stderr.write(f"this machine does not end itself: {error.code}\n")
    except OSError as error:
        sys.stderr.write(f"this machine does not end itself: {type(error).__name__}\n")
    return False
