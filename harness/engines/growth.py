"""How far a Ray cluster grows by itself: whether an autoscaler manages it, and which types of nodes it may start.

Also a script, which runs on the head node before anything is uploaded (`python -c`): so it imports nothing of Assay. Ray offers this
through private interfaces only; where one is missing, the cluster counts as one that does not grow.
"""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

#: Where Ray's autoscalers leave what they know in the cluster's key-value store. Version 1 reports itself there, version 2 sets a mark;
#: managed platforms leave the types of nodes, too.
_STATUS_KEY, _NAMESPACE = b"__autoscaling_status", b"__autoscaler"
_V2_KEY, _CONFIG_KEY = b"__autoscaler_v2_enabled", b"__autoscaler_cluster_config"

#: What version 1 calls a node that nobody manages.
_UNMANAGED = re.compile(r"node_[0-9a-f]+")

_RPC_SECONDS = 10.0


def look(address: str) -> dict[str, Any]:
    """What is known of the cluster at the GCS address: "grows" (False, True, or None: only its autoscaler can tell) and "types", a list of
    [resources of a node, most nodes], or None when they can't be learned from here."""
    try:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        client = GcsClient(address=address)
        managed = _managed(client.internal_kv_get(_STATUS_KEY, None, _RPC_SECONDS))
        second = client.internal_kv_get(_V2_KEY, _NAMESPACE, _RPC_SECONDS) == b"1"
        types = _published(client.internal_kv_get(_CONFIG_KEY, _NAMESPACE, _RPC_SECONDS)) or _configured(address)
    except Exception:  # whatever changes in Ray's private interface
        return {"grows": False, "types": None}
    return {"grows": True if managed or types else None if second else False, "types": types}


def infeasible(address: str) -> list[dict[str, float]]:
    """Requests that the autoscaler (version 2) has found no type of node for, by Ray's resource names."""
    try:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
        from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

        reply = GetClusterStatusReply.FromString(GcsClient(address=address).get_cluster_status(_RPC_SECONDS))
        return [dict(request.resources_bundle) for request in reply.autoscaling_state.infeasible_resource_requests]
    except Exception:
        return []


def _managed(status: "bytes | None") -> bool:
    """Whether version 1 reports nodes of named types: those of a cluster without autoscaler it names after their ids."""
    report = (json.loads(status) if status else {}).get("autoscaler_report") or {}
    names = [*report.get("active_nodes", {}), *report.get("pending_launches", {}), *(node[1] for node in report.get("pending_nodes", ()))]
    return any(not _UNMANAGED.fullmatch(name) for name in names)


def _published(config: "bytes | None") -> "list[list[Any]] | None":
    if not config:
        return None
    from ray.core.generated.autoscaler_pb2 import ClusterConfig

    groups = ClusterConfig.FromString(config).node_group_configs
    return [[dict(group.resources), group.max_count if group.max_count >= 0 else 10**6] for group in groups]


def _configured(address: str) -> "list[list[Any]] | None":
    """The types in the file with which the autoscaler of this machine was started (`ray up`, `ray start --autoscaling-config`)."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            arguments = path.read_bytes().decode(errors="replace").split("\0")
            serves = any(word.startswith("--gcs-address=") and word.endswith(f":{address.rpartition(':')[2]}") for word in arguments)
            if not serves or not any(word.endswith("monitor.py") for word in arguments[:4]):
                continue
            for word in arguments:
                if word.startswith("--autoscaling-config="):
                    return _types_of(Path(word.partition("=")[2]).expanduser())
    return None


def _types_of(file: Path) -> "list[list[Any]] | None":
    import yaml

    config = yaml.safe_load(file.read_text())
    every = config.get("max_workers", 2)  # Ray's default
    types = config["available_node_types"].items()
    return [
        [node.get("resources") or {}, 0 if name == config.get("head_node_type") else min(every, node.get("max_workers", every))]
        for name, node in types
    ]


if __name__ == "__main__":
    print("ASSAY-REPLY " + json.dumps(look(os.environ["RAY_ADDRESS"])), flush=True)
