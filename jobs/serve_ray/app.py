"""The Ray Serve application: its arguments, its deployments, and the front, which answers HTTP requests.

The store must be readable under the same path wherever a replica runs (a shared file system, or one machine): the front
reads metadata, rules and images from it, and a shard replica reads its own rows.
"""

# Without `from __future__ import annotations`: Serve reads the class of `build`'s argument from its annotation.

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.handle import DeploymentHandle

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from jobs.serve_job import read_tokens
from jobs.serve_ray.backend import RayBackend
from jobs.serve_ray.groups import default_groups, plan_groups
from jobs.serve_ray.replicas import SEARCHES_AT_ONCE, Encoders, Shards, check_deployed
from jobs.serve_ray.scaling import Scale, read_scale
from retrieval.service.settings import Settings

__all__ = ["ServeArgs", "build", "scale"]

# Requests that one replica works on at once, and requests that wait at each caller; beyond that, status 429.
FRONT_AT_ONCE, ENCODER_AT_ONCE, SHARD_AT_ONCE, WAITING = 256, 64, 8, 512
# Where a deployment has a range of replicas, Serve adds one when each of them has more requests than this.
TARGETS = {"encoder": ENCODER_AT_ONCE / 2, "shard": SEARCHES_AT_ONCE, "front": FRONT_AT_ONCE / 2}
# How often Serve pings replicas, and how long it waits for the answer: a busy machine is slow, not dead.
PING_SECONDS, PING_TIMEOUT_SECONDS = 1.0, 60.0
STOP_SECONDS = 20.0  # for requests in progress when the service stops


class ServeArgs(BaseModel):
    """The `args` of a Serve config file.

    Each number of replicas may be a range instead, in fields of Serve's AutoscalingConfig: min_replicas, max_replicas,
    target_ongoing_requests, upscale_delay_s, ...
    """

    model_config = ConfigDict(extra="forbid")

    store: str = Field(description="path of the store, the same on every node")
    name: str | None = Field(None, description="what the service calls the store; its folder's name by default")
    encoder_replicas: int = Field(1, ge=1)
    encoder_autoscaling_config: dict[str, Any] | None = Field(None, description="instead of encoder_replicas")
    encoder_cpus: float = Field(1.0, ge=0, description="CPUs, and threads, of an encoder")
    encoder_gpus: float | None = Field(None, ge=0, description="of an encoder; by default 1, or an even share")
    shard_groups: int | None = Field(None, ge=1, description="runs of rows; by default two, or one for one shard")
    shard_replicas: int = Field(1, ge=1, description="replicas of each group")
    shard_autoscaling_config: dict[str, Any] | None = Field(None, description="instead of shard_replicas")
    shard_cpus: float = Field(1.0, ge=0, description="CPUs, and threads, of a shard replica")
    shard_gpus: float = Field(0.0, ge=0, description="for exact scans")
    front_replicas: int = Field(1, ge=1)
    front_autoscaling_config: dict[str, Any] | None = Field(None, description="instead of front_replicas")
    front_cpus: float = Field(1.0, ge=0)
    deadline_seconds: float = Field(
        2.0, gt=0, description="for a group of shards to answer, beside ten times what the planner expects"
    )
    tokens_file: str | None = Field(None, description="bearer tokens, one a line, read where the front runs")
    settings: dict[str, Any] = Field({}, description="fields of retrieval.service.settings.Settings")


class Front:
    """A replica with the HTTP routes. It reads metadata and images from the store and asks the others for the rest."""

    def __init__(
        self,
        args: ServeArgs,
        settings: Settings,
        encoders: DeploymentHandle[Any],
        shards: list[DeploymentHandle[Any]],
        deployed: Mapping[str, Any],
    ) -> None:
        # Serve's proxies on all nodes pass requests on to this one.
        nodes = [str(node["NodeManagerHostname"]) for node in ray.nodes()]  # type: ignore[no-untyped-call]
        settings = replace(settings, hosts=tuple(dict.fromkeys([*settings.hosts, *nodes])))
        if args.tokens_file is not None:
            settings = replace(settings, tokens=read_tokens(args.tokens_file, None))
        store = EmbeddingStore.open(args.store)
        check_deployed(store, deployed)
        self._settings = settings
        shard_scale = scale(args, "shard")
        self._backend = RayBackend(
            store,
            encoders,
            shards,
            name=settings.name,
            replicas=shard_scale.least,
            most_replicas=shard_scale.most,
            cores=_threads(args.shard_cpus),
            device=_scan_device(args),
            seconds=args.deadline_seconds,
            queue=settings.queue,
        )

    def __serve_build_asgi_app__(self) -> Any:
        """Called by Serve when the replica has started."""
        from retrieval.service.app import create_app
        from retrieval.service.threads import SWITCH_SECONDS

        sys.setswitchinterval(SWITCH_SECONDS)  # of this replica's process
        return create_app(self._backend, self._settings)


def build(args: ServeArgs) -> serve.Application:
    """The application, for `import_path: jobs.serve_ray.start:build` of a Serve config file.

    Raises:
        BadInput: no such store, more groups than it has shards, unknown settings, a range that Serve does not take.
    """
    store = EmbeddingStore.open(args.store)
    settings = _settings(args)
    path, deployed = str(store.path), dict(store.fingerprint)
    args = args.model_copy(update={"store": path})
    groups = plan_groups(store, args.shard_groups or default_groups(store))
    gpus = _gpus(args)
    common: dict[str, Any] = {
        "max_queued_requests": WAITING,
        "health_check_period_s": PING_SECONDS,
        "health_check_timeout_s": PING_TIMEOUT_SECONDS,
        "graceful_shutdown_timeout_s": STOP_SECONDS,
        "graceful_shutdown_wait_loop_s": 0.1,
    }
    encoders = _deployment(
        Encoders,
        name="encoders",
        **scale(args, "encoder").options,
        max_ongoing_requests=ENCODER_AT_ONCE,
        ray_actor_options={"num_cpus": args.encoder_cpus, "num_gpus": gpus},
        **common,
    ).bind(path, settings, _threads(args.encoder_cpus), None if gpus else "cpu", deployed)
    shards = [
        _deployment(
            Shards,
            name=group.deployment,
            **scale(args, "shard").options,
            max_ongoing_requests=SHARD_AT_ONCE,
            ray_actor_options={"num_cpus": args.shard_cpus, "num_gpus": args.shard_gpus},
            **common,
        ).bind(path, group.number, len(groups), _threads(args.shard_cpus), _scan_device(args))
        for group in groups
    ]
    front: serve.Application = _deployment(
        serve.ingress()(Front),
        name="front",
        **scale(args, "front").options,
        max_ongoing_requests=FRONT_AT_ONCE,
        backpressure_config={"status_code": 429, "retry_after_s": 1},
        ray_actor_options={"num_cpus": args.front_cpus},
        **common,
    ).bind(args, settings, encoders, shards, deployed)
    return front


def scale(args: ServeArgs, kind: str) -> Scale:
    """How many replicas a deployment has. kind: "encoder", "shard" (of each group) or "front".

    Raises:
        BadInput: a number and a range, or a range that Serve does not take.
    """
    given = f"{kind}_replicas" in args.model_fields_set
    replicas = getattr(args, f"{kind}_replicas") if given else None
    return read_scale(kind, replicas, getattr(args, f"{kind}_autoscaling_config"), TARGETS[kind])


def _settings(args: ServeArgs) -> Settings:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in args.settings.items()
    }
    known = [name for name in vars(Settings()) if name != "name"]
    unknown = [repr(name) for name in values if name not in known]
    if unknown:
        raise BadInput(f"settings: no field {', '.join(unknown)}; the fields are {', '.join(known)}")
    return Settings(name=args.name, **values)


def _gpus(args: ServeArgs) -> float:
    """GPUs of an encoder: as configured, else one, or an even share where the cluster has fewer than encoders."""
    if args.encoder_gpus is not None or not ray.is_initialized():
        return args.encoder_gpus or 0.0
    there = float(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    return min(1.0, int(100 * there / scale(args, "encoder").most) / 100)


def _scan_device(args: ServeArgs) -> str:
    return "cuda" if args.shard_gpus else "cpu"


def _threads(cpus: float) -> int:
    return max(1, round(cpus))


def _deployment(replica: type, **options: Any) -> serve.Deployment:
    made: serve.Deployment = serve.deployment(**options)(replica)
    return made
