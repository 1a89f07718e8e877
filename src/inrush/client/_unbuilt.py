"""Names that a program may know and that are not built yet: using one says so, and what to do instead."""

from __future__ import annotations

from typing import Any, NoReturn

from inrush.errors import UnimplementedError

INSTEAD = {
    "Volume": "put files into the image (Image.add_local_dir, Image.run_function), or share values by a Dict",
    "CloudBucketMount": "read the bucket with its own client inside the function, with its keys in a Secret",
    "NetworkFileSystem": "put files into the image (Image.add_local_dir), or share values by a Dict",
    "Queue": "call functions with .spawn, or share values by a Dict",
    "Sandbox": "run the command inside a function (subprocess), or use `inrush shell`",
    "Cron": "have the node's cron call `inrush run FILE::function`",
    "Period": "have the node's cron call `inrush run FILE::function`",
    "Proxy": "route outbound traffic on the node",
    "Tunnel": "serve an ASGI app with @inrush.asgi_app()",
    "forward": "serve an ASGI app with @inrush.asgi_app()",
    "batched": "take a list, and call the function with lists",
    "web_server": "serve an ASGI app with @inrush.asgi_app(), which may proxy to a process",
    "sessioned": "keep state in a Dict",
    "Server": "serve an ASGI app with @app.function() and @inrush.asgi_app()",
    "Cluster": 'use one container with several GPUs: gpu="A100:8"',
    "SchedulerPlacement": "use the parameters region= and cloud=",
    "SandboxSnapshot": "use Image steps",
    "Probe": "serve an ASGI app with @inrush.asgi_app()",
    "Environment": "use `inrush environment create`, and environment_name= or INRUSH_ENVIRONMENT",
    "Workspace": "use one server per workspace",
    "Client": "set INRUSH_SERVER_URL and INRUSH_TOKEN",
}


def refuse(client: object = None) -> None:
    """Refuses parameters of many methods that would mean another server, since there is one."""
    if client is not None:
        raise UnimplementedError(f"client= is not built yet; {INSTEAD['Client']}")


class Unbuilt:
    """Stands where a class or function will be."""

    def __init__(self, name: str, instead: str = "") -> None:
        self._message = f"inrush.{name} is not built yet; {instead or INSTEAD[name]}"

    def __repr__(self) -> str:
        return f"<{self._message}>"

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise UnimplementedError(self._message)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UnimplementedError(self._message)


class UnbuiltSteps:
    """Bases and steps of images that are not built yet."""

    @staticmethod
    def from_registry(*args: Any, **kwargs: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "Image.from_registry is not built yet: begin with Image.debian_slim() and install what you need"
        )

    @staticmethod
    def from_dockerfile(*args: Any, **kwargs: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "Image.from_dockerfile is not built yet: write its steps as apt_install, pip_install and run_commands"
        )

    from_aws_ecr = from_gcp_artifact_registry = from_scratch = from_id = from_name = from_registry

    @staticmethod
    def micromamba(*args: Any, **kwargs: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "micromamba images are not built yet: use Image.debian_slim() with pip_install and apt_install"
        )

    def dockerfile_commands(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "this step is not built yet: use run_commands, env, workdir and add_local_file(copy=True)"
        )

    def pip_install_from_pyproject(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "this step is not built yet: export a requirements file and use pip_install_from_requirements"
        )

    def publish(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "this is not built yet: images are built when an app that uses them starts, and kept by content"
        )

    entrypoint = shell = cmd = dockerfile_commands
    micromamba_install = uv_sync = poetry_install_from_file = pip_install_private_repos = pip_install_from_pyproject
    build = publish
