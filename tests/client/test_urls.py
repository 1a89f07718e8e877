"""URLs of endpoints for who reaches the server by a forwarded port, by a proxy, or by a name."""

from __future__ import annotations

import pytest

from inrush.client import _urls

OWN = {"urls": {"f": "http://127.0.0.1:8700/w/a-f"}, "pages": {"f": "http://a-f.localhost:8700"}}
PUBLIC = {"urls": {"f": "https://box.example.org/w/a-f"}, "pages": {"f": "https://a-f.apps.example.org"}}


@pytest.mark.parametrize(
    ("server", "answer", "path", "page"),
    [
        ("", OWN, "http://127.0.0.1:8700/w/a-f", "http://a-f.localhost:8700"),
        ("http://localhost:9000", OWN, "http://localhost:9000/w/a-f", "http://a-f.localhost:9000"),
        ("http://10.0.0.7:8700", OWN, "http://10.0.0.7:8700/w/a-f", ""),
        ("https://box.example.org/", OWN, "https://box.example.org/w/a-f", ""),
        ("", PUBLIC, "https://box.example.org/w/a-f", "https://a-f.apps.example.org"),
        ("http://10.0.0.7:8700", PUBLIC, "https://box.example.org/w/a-f", "https://a-f.apps.example.org"),
    ],
)
def test_a_url_leads_to_the_server_from_where_the_program_runs(
    server: str, answer: dict[str, dict[str, str]], path: str, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INRUSH_SERVER_URL", server)
    assert _urls.by_path(answer)["f"] == path
    assert _urls.by_host(answer).get("f", "") == page
