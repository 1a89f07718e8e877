"""Digests of layers: equal chains of steps have equal digests, which depend only on what the steps read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inrush.core.images import layers
from inrush.errors import InvalidError
from inrush.wire import Step

texts = st.text(max_size=8)
values = texts.filter(lambda text: "\0" not in text)
names = values.filter(lambda text: text and "=" not in text)
lists = st.lists(texts, max_size=3)
steps = st.one_of(
    st.builds(
        lambda packages, options, files, secrets: Step(
            kind="pip",
            args=(layers.encode("pip", packages=packages, extra_options=options),),
            files=tuple(files),
            secrets=tuple(secrets),
        ),
        lists,
        texts,
        st.lists(st.tuples(texts, texts), max_size=2),
        st.lists(texts, max_size=2, unique=True),
    ),
    st.builds(lambda names: Step(kind="apt", args=(layers.encode("apt", packages=names),)), lists),
    st.builds(lambda lines: Step(kind="run", args=(layers.encode("run", commands=lines),)), lists),
    st.builds(
        lambda variables: Step(kind="env", args=(layers.encode("env", variables=variables),)),
        st.dictionaries(names, values, max_size=3),
    ),
    st.builds(lambda path: Step(kind="workdir", args=(layers.encode("workdir", path="/" + path),)), values),
)
recipes = st.lists(steps, max_size=5)


def step(kind: str, **parameters: object) -> Step:
    return Step(kind=kind, args=(layers.encode(kind, **parameters),))


@given(recipes)
def test_the_same_recipe_has_the_same_digests(recipe: list[Step]) -> None:
    again = [Step(kind=s.kind, args=s.args, files=s.files, secrets=s.secrets) for s in recipe]
    assert layers.digests(recipe, "base", "main") == layers.digests(again, "base", "main")


@given(recipes, recipes)
def test_different_recipes_share_the_digests_of_their_common_beginning_and_no_others(
    one: list[Step], two: list[Step]
) -> None:
    common = 0
    while common < min(len(one), len(two)) and one[common] == two[common]:
        common += 1
    first, second = layers.digests(one, "base", "main"), layers.digests(two, "base", "main")
    assert first[:common] == second[:common]
    assert not set(first[common:]) & set(second[common:])


@given(recipes, st.data())
def test_a_changed_step_changes_its_digest_and_all_above_it(recipe: list[Step], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(recipe)))
    changed = [*recipe[:at], step("run", commands=["a command that no other step has"]), *recipe[at:]]
    before, after = layers.digests(recipe, "base", "main"), layers.digests(changed, "base", "main")
    assert before[:at] == after[:at]
    assert not set(before[at:]) & set(after[at:])


@given(recipes)
def test_another_base_changes_every_digest(recipe: list[Step]) -> None:
    assert not set(layers.digests(recipe, "one", "main")) & set(layers.digests(recipe, "two", "main"))


@given(recipes)
def test_forcing_a_build_changes_no_digest(recipe: list[Step]) -> None:
    forced = [Step(kind=s.kind, args=s.args, files=s.files, secrets=s.secrets, force=True) for s in recipe]
    assert layers.digests(recipe, "base", "main") == layers.digests(forced, "base", "main")


@given(steps)
def test_every_step_has_a_title_of_one_line_and_parameters(any_step: Step) -> None:
    title = layers.title(any_step)
    assert len(title) <= 200
    assert len(title.splitlines()) <= 1
    assert layers.parameters(any_step).keys() >= json.loads(any_step.args[0]).keys()


def test_the_order_of_secret_names_does_not_matter_but_the_names_do() -> None:
    one, two = (Step(kind="run", secrets=names) for names in (("A", "B"), ("B", "A")))
    assert layers.digest("p", one, "main") == layers.digest("p", two, "main")
    assert layers.digest("p", one, "main") != layers.digest("p", Step(kind="run", secrets=("A",)), "main")


def test_the_content_of_files_counts() -> None:
    one, two = (Step(kind="copy", files=(("data", blob),)) for blob in ("sha256-1", "sha256-2"))
    assert layers.digest("p", one, "main") != layers.digest("p", two, "main")


def test_what_moves_from_one_field_to_another_is_another_step() -> None:
    one = Step(kind="copy", files=(("a", "b"), ("c", "d")))
    two = Step(kind="copy", files=(("a", "b"),), secrets=("c", "d"))
    assert layers.digest("p", one, "main") != layers.digest("p", two, "main")


def test_facts_of_a_base_are_told_apart_by_their_borders() -> None:
    assert layers.base_digest("host", ["ab", "c"]) != layers.base_digest("host", ["a", "bc"])


def test_parameters_with_their_default_are_left_out_and_come_back() -> None:
    text = layers.encode("pip", packages=["numpy"], pre=False, index_url="")
    assert text == '{"packages":["numpy"]}'
    given_back = layers.parameters(Step(kind="pip", args=(text,)))
    assert given_back["pre"] is False
    assert given_back["index_url"] == ""


def test_later_variables_and_working_directories_win() -> None:
    recipe = [
        step("env", variables={"A": "1", "B": "1"}),
        step("workdir", path="/one"),
        step("env", variables={"B": "2"}),
        step("workdir", path="/two"),
    ]
    assert layers.environment(recipe) == {"A": "1", "B": "2"}
    assert layers.workdir(recipe) == "/two"
    assert layers.workdir([]) == "/root"


def test_only_env_and_workdir_make_no_layer() -> None:
    kinds = ("pip", "apt", "run", "function", "copy", "env", "workdir")
    assert [kind for kind in kinds if not layers.makes_layer(step(kind))] == ["env", "workdir"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Step(kind="conda"), "no image step is called 'conda'"),
        (Step(kind="pip", args=("{",)), "not JSON"),
        (Step(kind="pip", args=("[]",)), "must be a JSON object"),
        (Step(kind="pip", args=("{}", "{}")), "must be a JSON object"),
        (Step(kind="pip", args=('{"package":["x"]}',)), "has no parameter package"),
        (Step(kind="pip", args=('{"packages":"x"}',)), "packages must be like"),
        (Step(kind="pip", args=('{"packages":[1]}',)), "packages must be like"),
        (Step(kind="pip", args=('{"pre":1}',)), "pre must be like"),
        (Step(kind="function", args=('{"timeout_s":true}',)), "timeout_s must be like"),
        (Step(kind="env", args=('{"variables":{"A":1}}',)), "variables must be like"),
        (Step(kind="env", args=('{"variables":{"A=B":"1"}}',)), "'A=B' cannot be set"),
        (Step(kind="env", args=('{"variables":{"A":"\\u0000"}}',)), "'A' cannot be set"),
        (Step(kind="workdir", args=('{"path":"here"}',)), "must be absolute"),
        (Step(kind="workdir"), "must be absolute"),
    ],
)
def test_a_step_that_is_not_encoded_right_is_refused_with_what_is_wrong(bad: Step, says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        layers.parameters(bad)


def test_titles_show_what_is_installed_and_no_credentials() -> None:
    titled = layers.title(step("pip", packages=["torch==2.1", "git+https://me:secret@example.org/x.git"]))
    assert titled == "pip install torch==2.1 git+https://example.org/x.git"
    assert layers.title(step("env", variables={"TOKEN": "hidden"})) == "env TOKEN"
    assert layers.title(step("run", commands=["make\nall", "x" * 300])).startswith("run make all; xxx")
