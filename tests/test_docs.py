"""What can be asked for is documented: every public name, command, flag, setting and limit."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from inrush import errors, settings
from inrush.cli.verbs import VERBS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LIMIT = re.compile(r"(^|_)(MAX|LIMIT|LIMITS)(_|$)")
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")
PAGES = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]


def limits() -> list[tuple[str, str]]:
    """Module and name of every public constant that bounds something."""
    found = []
    for path in sorted((ROOT / "src" / "inrush").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text()).body:
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            names = [t.id for t in targets if isinstance(t, ast.Name)]
            found += [
                (module, name) for name in names if name.isupper() and not name.startswith("_") and LIMIT.search(name)
            ]
    return found


def test_commands_settings_and_names_are_documented_as_the_code_says():
    done = subprocess.run([sys.executable, "scripts/write-docs", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: .venv/bin/python scripts/write-docs"


def test_every_public_name_says_what_it_is():
    import inrush

    assert not [name for name in inrush.__all__ if not (getattr(inrush, name).__doc__ or "").strip()]


def test_every_error_says_what_it_means():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Error)]
    assert not [kind for kind in kinds if not kind.__doc__]


@pytest.mark.parametrize(("module", "name"), limits(), ids=lambda part: part)
def test_a_limit_is_listed_with_its_value(module: str, name: str):
    value = getattr(importlib.import_module(module), name)
    entries = re.sub(r"\n  +", " ", (DOCS / "limits.md").read_text()).splitlines()
    rows = [line for line in entries if f"`{module.removeprefix('inrush.')}.{name}`" in line]
    assert len(rows) == 1, f"docs/limits.md has {len(rows)} rows for {module}.{name} (it is {value!r})"
    assert any(shown in rows[0] for shown in spellings(value)), f"{rows[0]} does not say {spellings(value)}"


def spellings(value: object) -> list[str]:
    """How the page may write a value: as it is, or in binary units."""
    if not isinstance(value, int | float):
        return [str(value)]
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return [
        f"{value:,g}".replace("e+", "e"),
        f"{value:,}",
        *(f"{value / size:,g} {unit}" for unit, size in units.items()),
    ]


def test_every_setting_and_verb_is_in_its_page():
    settings_page, commands_page = (DOCS / "settings.md").read_text(), (DOCS / "cli.md").read_text()
    assert not [s.name for s in settings.SETTINGS if f"`{s.name}`" not in settings_page]
    assert not [verb for verb in VERBS if f"## inrush {verb}" not in commands_page]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path):
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_every_decision_is_in_the_list_of_decisions():
    listed = (DOCS / "adr" / "README.md").read_text()
    assert not [path.name for path in (DOCS / "adr").glob("0*.md") if path.name not in listed]


def test_every_test_that_the_guide_of_security_names_is_there():
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "guides" / "security.md").read_text()))
    there = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named
    assert named <= there, named - there
