"""The Ray cluster that RAY_ADDRESS names: whether it answers, and whether it admits this process.

Ray itself would try for minutes, or for ever, where something else listens. It is imported by the process that uses it.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from index.errors import BadInput

__all__ = ["check_answers", "ray_address"]

ANSWER_SECONDS = 10.0  # how long the cluster may take to accept a connection, and to answer
# A call of Ray's protocol without arguments, which a cluster with tokens refuses without one.
_CLUSTER_ID = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_NO_RAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED")


def ray_address() -> str:
    """The Ray cluster that RAY_ADDRESS names, or "local" for a new one.

    Without an address, Ray would join any cluster that it finds on this machine, and wait for minutes for one that has
    died and left its address behind.
    """
    return os.environ.get("RAY_ADDRESS") or "local"


def check_answers(address: str) -> None:
    """Ask the cluster at HOST:PORT or ray://HOST:PORT for an answer; a token that it asks for is sent from now on.

    Raises BadInput where nothing or something else listens, or the cluster asks for a token that this process lacks.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():  # "auto" and "local", which Ray resolves, or an address that it rejects itself
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise BadInput(f"RAY_ADDRESS {address}: no Ray cluster answers there ({error})") from error
    if address.startswith("ray://") or os.environ.get("RAY_USE_TLS") == "1":
        return
    said, token = _ask(f"{host}:{port}", ""), _token()
    if said == "UNAUTHENTICATED" and token and _ask(f"{host}:{port}", token) != "UNAUTHENTICATED":
        _use_tokens()
    elif said == "UNAUTHENTICATED":
        remedy = "another token than ours" if token else "a token"
        raise BadInput(
            f"RAY_ADDRESS {address}: the cluster asks for {remedy}; set RAY_AUTH_MODE=token and its token in "
            "RAY_AUTH_TOKEN, or the token's file in RAY_AUTH_TOKEN_PATH"
        )
    elif said in _NO_RAY:
        raise BadInput(f"RAY_ADDRESS {address}: something listens there, and it is no Ray cluster ({said.lower()})")


def _ask(address: str, token: str) -> str:
    """The name of the status of a call with this token, or "" for none."""
    import grpc

    given = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(_CLUSTER_ID)(b"", timeout=ANSWER_SECONDS, metadata=given)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def _token() -> str:
    """The token that Ray would send to a cluster; "" for none."""
    if os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return ""
    if "RAY_AUTH_TOKEN" in os.environ:
        return os.environ["RAY_AUTH_TOKEN"].strip()
    try:
        return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser().read_text().strip()
    except OSError:
        return ""


def _use_tokens() -> None:
    """Let Ray send its token, in this process and in those that it starts.

    `ray start` asks for tokens wherever the machine has one, as the first Ray that starts there makes; a driver that
    joins does not send it unless RAY_AUTH_MODE says so.
    """
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    from ray import _raylet

    _raylet.Config.initialize("")  # type: ignore[attr-defined]  # Ray reads the variable when it is imported
