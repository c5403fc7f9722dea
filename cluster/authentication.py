"""Ray's token: known to the cluster, and to be sent by whoever submits to it."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from cluster.errors import JobError
from toolkit.files import error_text, mask

_PATIENCE = 10  # seconds that a job server has to answer
_HOW = (
    "give it the cluster's token in RAY_AUTH_TOKEN, or in a file that RAY_AUTH_TOKEN_PATH names or "
    "~/.ray/auth_token, with RAY_AUTH_MODE=token (`ray get-auth-token` on the head prints it)"
)


def prepare(address: str) -> None:
    """Ask a job server whether it wants a token, and see that Ray's client sends the one that is at hand.

    Must be called before Ray is imported, which reads the mode then. A token is sent to no server that does
    not ask for one.

    Parameters
    ----------
    address : str
        URL of the job server.

    Raises
    ------
    JobError
        When the server does not answer, or wants a token and there is none.
    """
    if not address.startswith(("http://", "https://")):
        return
    parts = urlsplit(address)
    # urllib takes user and password for a part of the host's name.
    account, _, host = parts.netloc.rpartition("@")
    bare = urlunsplit(parts._replace(netloc=host, query="", fragment="")).rstrip("/")
    headers = {"Authorization": "Basic " + b64encode(unquote(account).encode()).decode()} if account else {}
    request = urllib.request.Request(f"{bare}/api/version", headers=headers)  # noqa: S310 - http(s) only
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE):  # noqa: S310 - as above
            return
    except urllib.error.HTTPError as error:
        if error.code not in {401, 403}:
            return  # it answers; whatever it objects to, Ray's client says better
    except (OSError, ValueError, http.client.HTTPException) as error:
        where = f"{mask(address)} ({error_text(error, address)})"
        raise JobError(
            f"no Ray job server answers at {where}: see that the cluster runs, and "
            "that this is the address of its dashboard (port 8265, perhaps through `kubectl port-forward` or "
            "`ray dashboard`)"
        ) from error
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode is not None and mode.lower() != "token":
        raise JobError(f"the cluster at {mask(address)} wants a token, but RAY_AUTH_MODE is {mode}: {_HOW}")
    if not _token_at_hand():
        raise JobError(f"the cluster at {mask(address)} wants a token: {_HOW}")
    os.environ["RAY_AUTH_MODE"] = "token"


def _token_at_hand() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path("~/.ray/auth_token"))
    try:
        file = file.expanduser()
        return bool(file.read_text(encoding="utf-8").strip())
    except (OSError, RuntimeError):  # or nobody knows where home is
        return False
