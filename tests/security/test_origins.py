"""Apps share no browser origin: each endpoint has a host name of its own, and what is served by path is kept apart."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect as connect_socket

from inrush import wire
from inrush.errors import InvalidError
from inrush.server.gateway import apart, asgi
from inrush.server.port.names import Domain, domain, public
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, Web
from server.conftest import client, home, opened, server
from server.peers import Agent, Client
from server.test_gateway import Site, ended, items
from server.test_gateway import opened as scope_of

from .test_http_port import Caller, get

__all__ = ["client", "home", "opened", "server"]  # fixtures

F = FunctionSpec(name="f", module="m", qualname="f", web=(("", Web(kind="asgi")),))


class Pages:
    """An app that answers with these headers. `path` and `name` are its two addresses, asked for over one socket."""

    def __init__(self, server: Server) -> None:
        self.server, self.agent = server, Agent(server, lambda method, payload: payload)
        self.port = server.url.rpartition(":")[2]
        self.answers()

    def answers(self, *headers: tuple[str, str]) -> None:
        start = ({"type": "http.response.start", "status": 200, "headers": [list(pair) for pair in headers]}, b"")
        last = ({"type": "http.response.body"}, b"page")
        self.agent.on[wire.Run] = lambda run: [*items(run, start, last), *ended(run)]

    async def by_path(self, path: str = "/", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.get(f"{self.server.url}/w/app-f{path}", headers=_dashes(headers))

    async def by_name(self, path: str = "/", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as http:
            host = {"host": f"app-f.localhost:{self.port}"}
            return await http.get(f"{self.server.url}{path}", headers={**_dashes(headers), **host})


def _dashes(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
async def pages(server: Server, client: Client) -> Pages:
    await client.start_app(F, deploy=True)
    return Pages(server)


async def test_an_app_hears_both_of_its_addresses(server: Server, client: Client) -> None:
    answer = await client.start_app(F, deploy=True)
    port = server.url.rpartition(":")[2]
    assert answer["urls"] == {"f": f"http://127.0.0.1:{port}/w/app-f"}
    assert answer["pages"] == {"f": f"http://app-f.localhost:{port}"}
    found = await client.ask(wire.FindFunction("app", "f"))
    assert found["urls"] == {"": answer["urls"]["f"]}
    assert found["pages"] == {"": answer["pages"]["f"]}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "http://x.localhost:80801"),
        ("apps.example.org", "http://x.apps.example.org:80801"),
        ("Apps.Example.org:8000", "http://x.apps.example.org:8000"),
        ("https://apps.example.org", "https://x.apps.example.org"),
        ("https://apps.example.org:8443/", "https://x.apps.example.org:8443"),
        ("http://apps.example.org:80", "http://x.apps.example.org"),
    ],
)
def test_the_setting_says_where_names_of_apps_are(given: str, url: str) -> None:
    assert domain(given).url("x", 80801) == url


@pytest.mark.parametrize("given", ["ftp://x", "a b", "example.org/path", "*.example.org", "http://u@x", "[::1]"])
def test_a_domain_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(InvalidError):
        domain(given)


async def test_apps_have_names_below_the_domain_that_is_set(opened: Any, home: Any) -> None:
    async with opened(apps_domain="https://apps.example.org") as server:
        client = await Client(home / "run" / "server.sock").connect()
        assert (await client.start_app(F, deploy=True))["pages"] == {"f": "https://app-f.apps.example.org"}
        Site(server)
        async with httpx.AsyncClient(trust_env=False) as http:
            named = await http.get(server.url + "/x", headers={"host": "app-f.apps.example.org"})
            parent = await http.get(server.url + "/x", headers={"host": "apps.example.org"})
            nested = await http.get(server.url + "/x", headers={"host": "a.app-f.apps.example.org"})
            led = await http.get(server.url + "/w/app-f/a%20b?c=1", headers={"sec-fetch-mode": "navigate"})
        assert named.json()["scope"]["path"] == "/x"
        assert (parent.status_code, nested.status_code) == (403, 404)
        assert led.headers["location"] == "https://app-f.apps.example.org/a%20b?c=1"
        await client.close()


async def test_urls_begin_with_the_public_url_and_its_name_is_answered(opened: Any, home: Any) -> None:
    async with opened(public_url="https://Box.example.org/") as server:
        client = await Client(home / "run" / "server.sock").connect()
        assert (await client.start_app(F, deploy=True))["urls"] == {"f": "https://box.example.org/w/app-f"}
        assert server.url.startswith("http://127.0.0.1:")
        async with httpx.AsyncClient(trust_env=False) as http:
            statuses = [
                (await http.get(server.url + "/", headers={"host": host})).status_code
                for host in ("box.example.org", "box.example.org:443", "x.box.example.org", "example.org")
            ]
        assert statuses == [200, 200, 403, 403]
        await client.close()


@pytest.mark.parametrize(
    "given", ["box.example.org", "https://", "https://x/y", "https://u@x", "ftp://x", "https://x?a"]
)
def test_a_public_url_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(InvalidError, match="public_url must be"):
        public(given)


async def test_the_api_is_not_served_at_an_apps_name_nor_the_link(server: Server, pages: Pages) -> None:
    token = f"Bearer {server.token}"
    for path in ("/api/v1/status", "/api/docs", "/api/openapi.json", "/w/other/"):
        assert (await pages.by_name(path, authorization=token)).text == "page"
    seen = [scope_of(run)[0]["scope"]["path"] for run in pages.agent.got(wire.Run)]
    assert seen == ["/api/v1/status", "/api/docs", "/api/openapi.json", "/w/other/"]


async def test_by_path_only_cookies_below_the_apps_own_path_are_set(pages: Pages) -> None:
    kept = ["a=1", "b=2; Path=/w/app-f", "c=3; path=/w/app-f/x; HttpOnly", "d=4; Max-Age=5", "e=5; Path=relative"]
    dropped = [
        "p=1; Path=/",
        "q=1; Path=/w",
        "r=1; Path=/w/",
        "s=1; Path=/w/app-f2",
        "t=1; Path=/api",
        "u=1; Domain=localhost",
        "v=1; Path=/w/app-f; DOMAIN=127.0.0.1",
        "w=1; Path=/w/app-f; Path=/",
        '__Host-x=1; Secure; Path="/"',
        "y=1;PATH = /",
    ]
    pages.answers(*[("set-cookie", cookie) for cookie in (*kept, *dropped)])
    assert (await pages.by_path()).headers.get_list("set-cookie") == kept
    host_kept = (await pages.by_name()).headers.get_list("set-cookie")
    assert host_kept == [*kept, *[one for one in dropped if "domain" not in one.lower()]]


@pytest.mark.parametrize("bare", ["/w/app-f", "/w%2Fapp-f", "/w/app-f%2Fx", "/w%2Fapp-f/x"])
async def test_a_cookie_without_a_path_is_not_set_for_a_parent(server: Server, pages: Pages, bare: str) -> None:
    pages.answers(("set-cookie", "a=1; HttpOnly"), ("set-cookie", "b=1; Path=/w/app-f/x"))
    caller = await Caller(server).open()
    caller.send(get(bare))
    head = await caller.reader.readuntil(b"\r\n\r\n")
    cookies = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"set-cookie")]
    assert cookies == [b"a=1; HttpOnly; Path=/w/app-f", b"b=1; Path=/w/app-f/x"]
    caller.abandon()


async def test_at_its_own_name_an_app_sets_no_cookie_for_the_names_above(pages: Pages) -> None:
    kept = ["a=1; Path=/", "b=2; Domain=app-f.localhost", "c=3; Domain=.app-f.localhost"]
    pages.answers(*[("set-cookie", one) for one in (*kept, "d=1; Domain=localhost", "e=1; Domain=other.localhost")])
    assert (await pages.by_name()).headers.get_list("set-cookie") == kept


async def test_at_its_own_name_an_app_does_not_clear_the_cookies_of_its_neighbours(pages: Pages) -> None:
    for value in ('"storage", "cache"', '"cookies"', '"*"', '"cache","Cookies"'):
        pages.answers(("Clear-Site-Data", value))
        assert ("clear-site-data" in (await pages.by_name()).headers) == ("storage" in value), value


async def test_by_path_a_response_does_not_speak_for_its_origin_and_is_a_sandbox(pages: Pages) -> None:
    pages.answers(*[(name.decode(), "1") for name in sorted(apart.OF_ORIGINS)], ("Content-Security-Policy", "own"))
    by_path, by_name = await pages.by_path(), await pages.by_name()
    assert not {name.decode() for name in apart.OF_ORIGINS} & set(by_path.headers)
    policies = by_path.headers.get_list("content-security-policy")
    assert policies[0] == "own"
    assert policies[1].startswith("sandbox ")
    assert "allow-same-origin" not in policies[1]
    assert by_name.headers.get_list("content-security-policy") == ["own"]
    assert by_name.headers["clear-site-data"] == "1"


async def test_by_path_no_service_worker_is_served(pages: Pages) -> None:
    assert (await pages.by_path("/worker.js", service_worker="script")).status_code == 403
    assert (await pages.by_name("/worker.js", service_worker="script")).status_code == 200


async def test_a_browser_that_is_led_to_the_path_goes_to_the_apps_name(server: Server, pages: Pages) -> None:
    led = await pages.by_path("/docs?x=%2F", sec_fetch_mode="navigate", host=f"localhost:{pages.port}")
    assert (led.status_code, led.headers["location"]) == (307, f"http://app-f.localhost:{pages.port}/docs?x=%2F")
    odd = await pages.by_path("//evil.example/", sec_fetch_mode="navigate")
    assert odd.headers["location"] == f"http://app-f.localhost:{pages.port}//evil.example/"
    assert (await pages.by_path("/docs")).text == "page"
    assert (await pages.by_path("/docs", sec_fetch_mode="cors")).text == "page"
    assert (await pages.by_path("/docs", sec_fetch_mode="navigate")).status_code == 307


async def test_a_pages_name_leads_nowhere_for_who_came_by_an_address(opened: Any, home: Any) -> None:
    async with opened(host="0.0.0.0") as server:
        client = await Client(home / "run" / "server.sock").connect()
        await client.start_app(F, deploy=True)
        answer = await Pages(server).by_path("/", sec_fetch_mode="navigate", host="10.0.0.7:8000")
        assert (answer.status_code, answer.headers["content-security-policy"].split()[0]) == (200, "sandbox")
        await client.close()


async def test_a_web_socket_sets_no_cookies_of_others_either(server: Server, pages: Pages) -> None:
    accept = {"type": "websocket.accept", "headers": [["set-cookie", "a=1; Path=/"], ["set-cookie", "b=1"]]}
    pages.agent.on[wire.Run] = lambda run: [
        wire.Yielded(run.container, run.call, 0, 0, (asgi.pack(accept), asgi.pack({"type": "websocket.close"})))
    ]
    async with connect_socket(f"ws{server.url.removeprefix('http')}/w/app-f/", proxy=None) as socket:
        assert socket.response is not None
        assert socket.response.headers.get_all("set-cookie") == ["b=1"]


async def test_no_two_apps_have_one_label(client: Client) -> None:
    await client.start_app(F, name="a-b", deploy=True)
    spec = FunctionSpec(name="b-f", module="m", qualname="f", web=(("", Web(kind="asgi")),))
    refused = await client.ask(wire.StartApp(wire.AppSpec(name="a", functions=(spec,)), deploy=True))
    assert refused.code == "AlreadyExistsError"
    other = await client.ask(wire.StartApp(wire.AppSpec(name="A_B", functions=(F,)), deploy=True))
    assert other.code == "AlreadyExistsError"
    assert isinstance(await client.ask(wire.StartApp(wire.AppSpec(name="a-b", functions=(F,)))), dict)
    assert isinstance(await client.ask(wire.StartApp(wire.AppSpec(name="a-b", functions=(F,)))), dict)


def test_a_domain_has_no_scheme_until_it_is_given_one() -> None:
    assert domain("") == Domain("localhost", "", "")
