"""Endpoints, local modules and local files, in real containers."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import inrush

from . import conftest


@pytest.fixture
def serving(connected: Any) -> Iterator[ModuleType]:
    module = conftest.program("serving")
    with module.app.run():
        yield module


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        return str(response.read().decode())


def test_an_asgi_app_is_served_at_its_url(serving: ModuleType) -> None:
    url = serving.site.get_web_url()
    assert url == serving.app.urls["site"]
    assert get(f"{url}/deep?x=1").startswith("path /")


def test_a_wsgi_app_is_served_too(serving: ModuleType) -> None:
    assert get(serving.old_site.get_web_url() + "/deep").startswith("wsgi /")


def test_a_method_of_a_class_serves_after_its_hooks(serving: ModuleType) -> None:
    url = serving.Pages().site.get_web_url()
    assert "pages-of-a-class" in url
    assert get(url) == "prepared"


def test_other_functions_have_no_url(serving: ModuleType) -> None:
    assert serving.look.get_web_url() is None


def test_modules_files_and_steps_reach_the_container(serving: ModuleType) -> None:
    assert serving.look.remote() == {
        "helped": "by a local module",
        "mode": "tested",
        "built": "built",
        "copied": "from here",
        "over": "from here",
        "cwd": "/root",
    }


def test_the_url_of_a_deployed_function_is_found_by_name(connected: Any) -> None:
    deployed = inrush.App("serving-deployed").include(conftest.program("serving").app)
    deployed.deploy()
    try:
        function = inrush.Function.from_name("serving-deployed", "site")
        assert function.get_web_url() == deployed.urls["site"]
    finally:
        deployed.stop()
