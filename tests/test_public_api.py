"""The public names: they are there, they are explained, and they take the parameters that programs give them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import inrush
from inrush import errors
from inrush.client._dual import Dual, DualIter, DualScope, dual, dual_iter, dual_scope
from inrush.client._options import FunctionOptions
from inrush.client._unbuilt import INSTEAD, Unbuilt
from inrush.client.cls import Obj

CLASSES = (
    inrush.App,
    inrush.Cls,
    inrush.Dict,
    inrush.FilePatternMatcher,
    inrush.Function,
    inrush.FunctionCall,
    inrush.Image,
    inrush.Retries,
    inrush.Secret,
)

KNOWN = [
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
"""Names that programs written for Modal import."""

ASYNC_TOO = [
    "App.deploy",
    "App.run",
    "App.stop",
    "Cls.hydrate",
    "Dict.clear",
    "Dict.contains",
    "Dict.ephemeral",
    "Dict.get",
    "Dict.hydrate",
    "Dict.items",
    "Dict.keys",
    "Dict.len",
    "Dict.pop",
    "Dict.put",
    "Dict.update",
    "Dict.values",
    "Function.for_each",
    "Function.get_current_stats",
    "Function.get_web_url",
    "Function.hydrate",
    "Function.map",
    "Function.remote",
    "Function.remote_gen",
    "Function.spawn",
    "Function.spawn_map",
    "Function.starmap",
    "Function.update_autoscaler",
    "FunctionCall.cancel",
    "FunctionCall.gather",
    "FunctionCall.get",
    "FunctionCall.iter",
    "FunctionCall.num_inputs",
    "Secret.hydrate",
    "Secret.update",
]
"""Methods with an `.aio` twin."""

PARAMETERS = {
    "App": "name tags image secrets volumes include_source",
    "App.run": "name client detach interactive environment_name",
    "App.deploy": "name environment_name tag client strategy",
    "App.lookup": "name client environment_name create_if_missing",
    "App.local_entrypoint": "name",
    "App.include": "other_app inherit_tags",
    "Cls.from_name": "app_name name version environment_name client",
    "Dict.from_name": "name environment_name create_if_missing client",
    "Dict.get": "key default",
    "Dict.put": "key value skip_if_exists",
    "Dict.pop": "key default",
    "Function.from_name": "app_name name version environment_name client",
    "Function.map": "input_iterators kwargs order_outputs return_exceptions wrap_returned_exceptions",
    "Function.starmap": "input_iterator kwargs order_outputs return_exceptions wrap_returned_exceptions",
    "Function.for_each": "input_iterators kwargs ignore_exceptions",
    "Function.spawn_map": "input_iterators kwargs",
    "Function.update_autoscaler": "min_containers max_containers buffer_containers scaledown_window",
    "FunctionCall.get": "timeout index",
    "FunctionCall.cancel": "terminate_containers",
    "FunctionCall.iter": "start end",
    "FunctionCall.from_id": "function_call_id client",
    "Image.debian_slim": "python_version force_build",
    "Image.pip_install": "packages find_links index_url extra_index_url pre extra_options force_build env secrets gpu",
    "Image.uv_pip_install": "packages requirements find_links index_url extra_index_url pre extra_options force_build "
    "uv_version env secrets gpu",
    "Image.pip_install_from_requirements": "requirements_txt find_links index_url extra_index_url pre extra_options "
    "force_build env secrets gpu",
    "Image.apt_install": "packages force_build env secrets gpu",
    "Image.run_commands": "commands env secrets volumes gpu force_build",
    "Image.run_function": "raw_f env secrets volumes network_file_systems gpu cpu memory timeout cloud region "
    "force_build args kwargs include_source",
    "Image.env": "vars",
    "Image.workdir": "path",
    "Image.add_local_file": "local_path remote_path copy",
    "Image.add_local_dir": "local_path remote_path copy ignore",
    "Image.add_local_python_source": "modules copy ignore",
    "Retries": "max_retries backoff_coefficient initial_delay max_delay",
    "Secret.from_dict": "env_dict",
    "Secret.from_dotenv": "path filename client",
    "Secret.from_local_environ": "env_keys",
    "Secret.from_name": "name environment_name required_keys client",
    "asgi_app": "label custom_domains requires_proxy_auth",
    "wsgi_app": "label custom_domains requires_proxy_auth",
    "fastapi_endpoint": "method label custom_domains docs requires_proxy_auth",
    "concurrent": "max_inputs target_inputs",
    "enter": "snap",
    "method": "is_generator",
    "parameter": "default init",
}
"""Parameters that programs give by name."""

FUNCTION_PARAMETERS = [
    "image",
    "env",
    "secrets",
    "gpu",
    "serialized",
    "network_file_systems",
    "volumes",
    "cpu",
    "memory",
    "ephemeral_disk",
    "min_containers",
    "max_containers",
    "buffer_containers",
    "scaledown_window",
    "proxy",
    "retries",
    "timeout",
    "startup_timeout",
    "cloud",
    "region",
    "routing_region",
    "nonpreemptible",
    "enable_memory_snapshot",
    "block_network",
    "restrict_modal_access",
    "single_use_containers",
    "i6pn",
    "include_source",
    "experimental_options",
    "max_inputs",
    "keep_warm",
    "concurrency_limit",
    "container_idle_timeout",
    "allow_concurrent_inputs",
]


def found(path: str) -> Any:
    """The thing itself, behind a descriptor."""
    thing: Any = inrush
    for part in path.split("."):
        thing = inspect.getattr_static(thing, part) if isinstance(thing, type) else getattr(thing, part)
    return thing


def signature(path: str) -> inspect.Signature:
    thing = found(path)
    if isinstance(thing, staticmethod):
        thing = thing.__func__
    return inspect.signature(thing._function if hasattr(thing, "_function") else thing)


def test_names_that_programs_import_are_there() -> None:
    assert set(KNOWN) <= set(inrush.__all__)
    for name in inrush.__all__:
        assert getattr(inrush, name) is not None
    assert set(inrush.__all__) <= set(dir(inrush))
    with pytest.raises(AttributeError, match="no_such_name"):
        inrush.no_such_name  # noqa: B018


def test_every_public_name_is_explained() -> None:
    def undocumented() -> Iterator[str]:
        for name in inrush.__all__:
            if not isinstance(getattr(inrush, name), Unbuilt) and not getattr(inrush, name).__doc__:
                yield name
        for cls in (*CLASSES, Obj):
            for name in vars(cls):
                if not name.startswith("_") and callable(getattr(cls, name, None)) and not getattr(cls, name).__doc__:
                    yield f"{cls.__name__}.{name}"

    assert list(undocumented()) == []


@pytest.mark.parametrize("path", ASYNC_TOO)
def test_what_talks_to_the_server_has_an_async_twin(path: str) -> None:
    assert isinstance(found(path), dual | dual_iter | dual_scope | Dual | DualIter | DualScope)


@pytest.mark.parametrize("path", PARAMETERS)
def test_parameters_are_those_that_programs_give(path: str) -> None:
    assert set(PARAMETERS[path].split()) <= set(signature(path).parameters)


def test_functions_and_classes_take_all_known_parameters() -> None:
    assert set(FUNCTION_PARAMETERS) <= set(FunctionOptions.__annotations__)
    assert {"name", "is_generator", "schedule"} <= set(inspect.signature(inrush.App.function).parameters)


def test_every_parameter_of_a_function_is_explained() -> None:
    text = (inrush.App.function.__doc__ or "").replace("\n", " ")
    built = set(FunctionOptions.__annotations__) - {
        "volumes", "network_file_systems", "proxy", "routing_region", "i6pn", "experimental_options",
        "_experimental_restrict_output", "restrict_modal_access", "max_inputs",
    }  # fmt: skip
    assert {name for name in built if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("name", sorted(INSTEAD))
def test_what_is_not_built_says_so_when_used_and_what_to_do(name: str) -> None:
    thing = getattr(inrush, name)
    with pytest.raises(errors.UnimplementedError, match=f"inrush.{name} is not built yet; ."):
        thing("x")
    with pytest.raises(errors.UnimplementedError):
        thing.from_name("x")


def test_exceptions_are_found_where_programs_look() -> None:
    assert inrush.exception is errors
    assert inrush.Error is errors.Error
    for name in ("InvalidError", "NotFoundError", "FunctionTimeoutError", "RemoteError", "OutputExpiredError"):
        assert issubclass(getattr(inrush.exception, name), inrush.Error)


@pytest.mark.parametrize(
    "given",
    [
        lambda: inrush.Function.from_name("a", "f", client=object()),
        lambda: inrush.Cls.from_name("a", "C", version=3),
        lambda: inrush.Dict.from_name("d", client=object()),
        lambda: inrush.Secret.from_name("s", client=object()),
        lambda: inrush.App("a", volumes={"/v": object()}),
        lambda: inrush.App("a").server(),
        lambda: inrush.Function.from_name("a", "f").with_options(gpu="A10G"),
        lambda: inrush.fastapi_endpoint(custom_domains=["x.org"]),
        lambda: inrush.asgi_app(requires_proxy_auth=True),
    ],
)
def test_parameters_that_are_not_built_are_refused_and_never_passed_over(given: Any) -> None:
    with pytest.raises(errors.UnimplementedError, match=r"not built yet(: |; )\w"):
        given()
