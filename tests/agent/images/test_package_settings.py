"""The node's package settings reach builds, translated, and nothing of the node is left in what is built."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.images.imaging import Images, pip, run, step
from inrush.agent.images import apt, packages
from inrush.agent.images.inherited import Inherited
from inrush.launcher.specs import Bind

GLOBAL = """
[global]
index-url = https://me:pw@mirror.example/simple
cert = /etc/corp/ca.pem
timeout = 33
target = /somewhere/else
"""
USER = """
[global]
find-links = /srv/wheels
    https://wheels.example/
extra-index-url = file:///srv/index/simple https://more.example/simple
[install]
constraint = /srv/constraints.txt
no-binary = numpy,scipy
"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The root directory of a node with settings in the usual places."""
    for path, text in {
        "etc/pip.conf": GLOBAL,
        "root/.config/pip/pip.conf": USER,
        "etc/corp/ca.pem": "certificate",
        "srv/wheels/x.whl": "",
        "srv/index/simple/index.html": "",
        "srv/index/files/y.whl": "",
        "srv/constraints.txt": "torch<3",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def inherited(node: Path, **environ: str) -> packages.PackageSettings:
    return packages.inherit({"HOME": "/root", **environ}, node)


def shown(settings: packages.PackageSettings, node: Path) -> dict[str, str]:
    return {"/" + str(Path(bind.src).relative_to(node)): bind.dst for bind in settings.binds}


def test_settings_of_pip_become_variables_of_pip_and_of_uv(node: Path) -> None:
    settings = inherited(node)
    at = shown(settings, node)
    index = f"file://{at['/srv/index']}/simple https://more.example/simple"
    expected: Mapping[str, str] = {
        "PIP_INDEX_URL": "https://me:pw@mirror.example/simple",
        "UV_DEFAULT_INDEX": "https://me:pw@mirror.example/simple",
        "PIP_EXTRA_INDEX_URL": index,
        "UV_EXTRA_INDEX_URL": index,
        "PIP_FIND_LINKS": f"{at['/srv/wheels']} https://wheels.example/",
        "UV_FIND_LINKS": f"{at['/srv/wheels']},https://wheels.example/",
        "PIP_CONSTRAINT": at["/srv/constraints.txt"],
        "UV_CONSTRAINT": at["/srv/constraints.txt"],
        "UV_NO_BINARY_PACKAGE": "numpy scipy",
        "PIP_NO_BINARY": "numpy,scipy",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "PIP_DEFAULT_TIMEOUT": "33",
        "UV_HTTP_TIMEOUT": "33",
        **dict.fromkeys(
            ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO"),
            at["/etc/corp/ca.pem"],
        ),
    }
    assert dict(settings.env) == expected


def test_local_paths_are_shown_read_only_under_names_that_say_nothing_of_the_node(node: Path) -> None:
    settings = inherited(node)
    assert set(shown(settings, node)) == {"/etc/corp/ca.pem", "/srv/constraints.txt", "/srv/wheels", "/srv/index"}
    assert all(bind.readonly and bind.dst.startswith(f"{packages.BUILD}/node/") for bind in settings.binds)
    assert not [value for value in settings.env.values() if "/srv" in value or "/etc" in value]


def test_variables_win_over_files_and_install_over_global(node: Path) -> None:
    (node / "etc/pip.conf").write_text("[global]\npre = 0\nretries = 1\n[install]\nretries = 2\n")
    assert inherited(node).env["PIP_RETRIES"] == "2"
    settings = inherited(node, PIP_RETRIES="9", PIP_INDEX_URL="https://x.example/", PIP_TARGET="/t", UV_OFFLINE="1")
    assert settings.env["UV_HTTP_RETRIES"] == "9"
    assert settings.env["UV_DEFAULT_INDEX"] == "https://x.example/"
    assert settings.env["UV_OFFLINE"] == "1"
    assert "PIP_TARGET" not in settings.env


def test_files_are_read_in_pips_order_and_can_be_switched_off(node: Path) -> None:
    (node / "extra.conf").write_text("[global]\ntimeout = 44\n")
    assert inherited(node, PIP_CONFIG_FILE="/extra.conf").env["UV_HTTP_TIMEOUT"] == "44"
    assert inherited(node, PIP_CONFIG_FILE="/dev/null").env == {}
    (node / "etc/xdg/pip").mkdir(parents=True)
    (node / "etc/xdg/pip/pip.conf").write_text("[global]\ntimeout = 1\nretries = 7\n")
    settings = inherited(node)
    assert (settings.env["UV_HTTP_TIMEOUT"], settings.env["UV_HTTP_RETRIES"]) == ("33", "7")


def test_proxies_and_certificates_of_the_environment_are_carried_over(node: Path) -> None:
    (node / "etc/pip.conf").unlink()
    (node / "root/.config/pip/pip.conf").unlink()
    settings = inherited(node, https_proxy="http://proxy:3128", no_proxy="localhost", SSL_CERT_FILE="/etc/corp/ca.pem")
    assert settings.env["https_proxy"] == "http://proxy:3128"
    assert settings.env["no_proxy"] == "localhost"
    assert settings.env["PIP_CERT"] == shown(settings, node)["/etc/corp/ca.pem"]
    assert inherited(node, PIP_PROXY="http://p:1").env["HTTPS_PROXY"] == "http://p:1"


def test_paths_that_are_not_there_and_files_that_cannot_be_read_are_passed_over(node: Path) -> None:
    (node / "etc/pip.conf").write_text("no ini file at all")
    (node / "root/.config/pip/pip.conf").write_text(
        "[global]\nfind-links = /gone\nextra-index-url = file:///gone/simple\n"
    )
    settings = inherited(node)
    assert settings.env == {}
    assert settings.binds == ()


def test_all_wheels_or_none_are_said_in_uvs_words(node: Path) -> None:
    env = inherited(node, PIP_NO_BINARY=":all:", PIP_ONLY_BINARY="torch", PIP_PRE="1").env
    assert env["UV_NO_BINARY"] == "1"
    assert env["UV_NO_BUILD_PACKAGE"] == "torch"
    assert env["UV_PRERELEASE"] == "allow"


def test_uvs_own_settings_file_is_shown(node: Path) -> None:
    (node / "etc/uv").mkdir()
    (node / "etc/uv/uv.toml").write_text("")
    settings = inherited(node)
    assert settings.env["UV_CONFIG_FILE"] == shown(settings, node)["/etc/uv/uv.toml"]


DEB822 = """Types: deb
# a comment
URIs: https://mirror.corp/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: https://mirror.corp/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: https://other.corp/debian
Suites: sid
"""


def test_the_mirror_of_the_node_is_used_for_other_releases(tmp_path: Path) -> None:
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list.d/debian.sources").write_text(DEB822)
    settings = apt.inherit(tmp_path)
    assert (settings.mirror, settings.security) == ("https://mirror.corp/debian", "https://mirror.corp/debian-security")
    assert settings.sources("trixie").splitlines()[2] == (
        f"deb [signed-by={apt.KEYRING}] https://mirror.corp/debian-security trixie-security main"
    )


def test_one_line_sources_are_read_too_and_foreign_ones_passed_over(tmp_path: Path) -> None:
    (tmp_path / "etc/apt").mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list").write_text(
        "# deb http://commented/debian sid main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb [arch=amd64 signed-by=/x] http://vendor.example/apt stable main\n"
        "deb [arch=amd64] http://near.example/debian bookworm main\n"
        "deb http://security.example/debian-security bookworm-security main\n"
    )
    settings = apt.inherit(tmp_path)
    assert (settings.mirror, settings.security) == (
        "http://near.example/debian",
        "http://security.example/debian-security",
    )


def test_a_node_that_is_no_debian_uses_the_public_servers(tmp_path: Path) -> None:
    settings = apt.inherit(tmp_path)
    assert (settings.mirror, settings.security) == (apt.PUBLIC, apt.PUBLIC_SECURITY)


def test_builds_that_begin_at_once_do_not_take_each_others_files(tmp_path: Path) -> None:
    settings = apt.AptSettings("http://mirror/debian", "http://mirror/security", (), "machine mirror", ())

    def write() -> None:
        for _ in range(200):
            apt.write(settings, tmp_path, "bookworm")

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(write) for _ in range(4)]:
            done.result()
    assert sorted(file.name for file in (tmp_path / "apt-bookworm").iterdir()) == [
        "apt.conf",
        "auth.conf",
        "sources.list",
    ]


def test_a_build_gets_the_mirror_and_passwords_in_files_of_its_own(tmp_path: Path) -> None:
    settings = apt.AptSettings(
        "https://m/debian", "https://m/debian-security", ('Acquire::Retries "3";',), "machine m login x\n"
    )
    env, binds = apt.write(settings, tmp_path, "bookworm")
    conf = (tmp_path / "apt-bookworm/apt.conf").read_text()
    assert env == {"APT_CONFIG": f"{packages.BUILD}/apt/apt.conf"}
    assert binds == (Bind(str(tmp_path / "apt-bookworm"), f"{packages.BUILD}/apt"),)
    assert 'Acquire::Retries "3";' in conf
    assert f'Dir::Etc::sourcelist "{packages.BUILD}/apt/sources.list";' in conf
    assert f'Dir::Etc::netrc "{packages.BUILD}/apt/auth.conf";' in conf
    assert "https://m/debian bookworm main" in (tmp_path / "apt-bookworm/sources.list").read_text()


@pytest.mark.asyncio(loop_scope="session")
async def test_nothing_of_the_nodes_settings_ends_in_a_layer_or_in_an_image(shared: Images) -> None:
    settings = packages.inherit()
    image = await shared.build(
        pip("six==1.16.0"),
        step("apt", packages=["hello"]),
        run("pip install --quiet idna", "env > /dev/null"),
        base="debian_slim",
        python="3.11",
    )
    own = [bind.src for bind in settings.binds if not bind.src.startswith("/etc/ssl/")]  # that path is everybody's
    traces = [f"{packages.BUILD}/", *own]
    patterns = [argument for trace in traces for argument in ("-e", trace)]
    found = subprocess.run(["grep", "-rlF", *patterns, *image.layers[:-1]], capture_output=True, text=True)
    assert found.stdout == ""
    assert not [name for name in image.env if name.startswith(("PIP_", "UV_", "SSL_", "APT_"))]


def test_settings_that_only_root_may_read_are_read_before_and_builds_see_copies(node: Path, tmp_path: Path) -> None:
    (node / "etc/corp/ca.pem").chmod(0o600)
    read = packages.inherit({"HOME": "/root"}, node)
    apt_settings = apt.AptSettings(binds=(Bind(str(node / "etc/corp/ca.pem"), "/opt/inrush/build/apt-files/0"),))
    certificate = str(node / "etc/corp/ca.pem")
    inherited = Inherited(read, apt_settings, {certificate: b"certificate"})
    assert set(inherited.sources()) == {b.src for b in read.binds} - {certificate}
    settled, settled_apt = inherited.settled(tmp_path / "copies")
    places = {bind.dst: Path(bind.src) for bind in settled.binds}
    copy = places[settled.env["SSL_CERT_FILE"]]
    assert copy.parent == tmp_path / "copies"
    assert copy.read_text() == "certificate"
    assert copy.stat().st_mode & 0o777 == 0o644
    assert settled_apt.binds[0].src == str(copy)
    assert settled.env == read.env
