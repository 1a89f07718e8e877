"""Names that programs written for Modal import from its `experimental`. `clustered` is there; the others can be
imported, and say when they are used that they are not built."""

from __future__ import annotations

from inrush.client._marks import clustered as clustered
from inrush.client._unbuilt import Unbuilt

_UNBUILT = (
    "flash_forward", "get_app_objects", "get_cluster_info", "get_local_input_concurrency", "http_server",
    "image_delete", "list_deployed_apps", "set_local_input_concurrency", "stop_app", "stop_fetching_inputs",
)  # fmt: skip


def __getattr__(name: str) -> Unbuilt:
    if name not in _UNBUILT:
        raise AttributeError(f"inrush.experimental has no {name}")
    return Unbuilt(f"experimental.{name}", "of inrush.experimental there is clustered alone")
