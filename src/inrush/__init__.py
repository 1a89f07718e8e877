"""inrush: Python functions and classes in isolated containers with the right image and GPU, from zero in milliseconds.

    import inrush

    app = inrush.App("hello")

    @app.function()
    def square(x: int) -> int:
        return x * x

    @app.local_entrypoint()
    def main() -> None:
        print(square.remote(7), list(square.map(range(10))))

`inrush run hello.py` runs it. Public names are loaded when they are first used, so that `import inrush` costs next to
nothing.
"""

from __future__ import annotations

from inrush.version import __version__ as __version__

TYPE_CHECKING = False  # what type checkers take for true; `typing` costs more than all the rest

_HOMES = {
    "App": "app",
    "Cls": "cls",
    "Dict": "dict",
    "FilePatternMatcher": "_ignore",
    "Function": "function",
    "FunctionCall": "call",
    "Image": "image",
    "Retries": "retries",
    "Secret": "secret",
    "asgi_app": "_methods",
    "clustered": "_marks",
    "concurrent": "_marks",
    "current_function_call_id": "context",
    "current_input_id": "context",
    "enable_output": "_output",
    "enter": "_marks",
    "exit": "_marks",
    "fastapi_endpoint": "_methods",
    "interact": "_interact",
    "is_local": "context",
    "method": "_methods",
    "parameter": "_parameter",
    "web_endpoint": "_methods",
    "wsgi_app": "_methods",
}
"""Public names, and the module of `inrush.client` that each is in."""

_UNBUILT = (
    "Client", "CloudBucketMount", "Cluster", "Cron", "Environment", "NetworkFileSystem", "Period", "Probe", "Proxy",
    "Queue", "Sandbox", "SandboxSnapshot", "SchedulerPlacement", "Server", "Tunnel", "Volume", "Workspace", "batched",
    "forward", "sessioned", "web_server",
)  # fmt: skip
"""Names that say, when used, that they are not built yet, and what to do instead."""

if TYPE_CHECKING:
    from typing import Any

    from inrush import errors as exception
    from inrush.client._ignore import FilePatternMatcher
    from inrush.client._interact import interact
    from inrush.client._marks import clustered, concurrent, enter, exit
    from inrush.client._methods import asgi_app, fastapi_endpoint, method, web_endpoint, wsgi_app
    from inrush.client._output import enable_output
    from inrush.client._parameter import parameter
    from inrush.client.app import App
    from inrush.client.call import FunctionCall
    from inrush.client.cls import Cls
    from inrush.client.context import current_function_call_id, current_input_id, is_local
    from inrush.client.dict import Dict
    from inrush.client.function import Function
    from inrush.client.image import Image
    from inrush.client.retries import Retries
    from inrush.client.secret import Secret
    from inrush.errors import Error

    Client: Any
    CloudBucketMount: Any
    Cluster: Any
    Cron: Any
    Environment: Any
    NetworkFileSystem: Any
    Period: Any
    Probe: Any
    Proxy: Any
    Queue: Any
    Sandbox: Any
    SandboxSnapshot: Any
    SchedulerPlacement: Any
    Server: Any
    Tunnel: Any
    Volume: Any
    Workspace: Any
    batched: Any
    forward: Any
    sessioned: Any
    web_server: Any

__all__ = [
    "App",
    "Client",
    "CloudBucketMount",
    "Cls",
    "Cluster",
    "Cron",
    "Dict",
    "Environment",
    "Error",
    "FilePatternMatcher",
    "Function",
    "FunctionCall",
    "Image",
    "NetworkFileSystem",
    "Period",
    "Probe",
    "Proxy",
    "Queue",
    "Retries",
    "Sandbox",
    "SandboxSnapshot",
    "SchedulerPlacement",
    "Secret",
    "Server",
    "Tunnel",
    "Volume",
    "Workspace",
    "asgi_app",
    "batched",
    "clustered",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enable_output",
    "enter",
    "exception",
    "exit",
    "fastapi_endpoint",
    "forward",
    "interact",
    "is_local",
    "method",
    "parameter",
    "sessioned",
    "web_endpoint",
    "web_server",
    "wsgi_app",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        value = getattr(importlib.import_module(f"inrush.client.{_HOMES[name]}"), name)
    elif name in _UNBUILT:
        value = importlib.import_module("inrush.client._unbuilt").Unbuilt(name)
    elif name == "exception":
        value = importlib.import_module("inrush.errors")
    elif name == "Error":
        value = importlib.import_module("inrush.errors").Error
    elif name.startswith("_") or _is_submodule(name):  # an import of one asks for an attribute first
        raise AttributeError(f"inrush has no {name}")
    else:
        from inrush.client._missing import hint

        raise AttributeError(f"inrush has no {name}" + hint(name, __all__))
    globals()[name] = value
    return value


def _is_submodule(name: str) -> bool:
    import os

    path = f"{__path__[0]}/{name}"
    return os.path.isdir(path) or os.path.exists(f"{path}.py")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
