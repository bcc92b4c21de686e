"""A template that is wrong, or a value that is missing, is told with template and line."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trackstack import bundle, templating
from trackstack.errors import TrackstackError


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Writes a template into a folder that stands in for the kit's."""
    monkeypatch.setattr(bundle, "templates", lambda: tmp_path)
    templating._environment.cache_clear()

    def write(text: str, name: str = "nginx/some.j2") -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    yield write
    templating._environment.cache_clear()


def failure(name: str = "nginx/some.j2", **values: object) -> str:
    with pytest.raises(TrackstackError) as failed:
        templating.render(name, values)
    return failed.value.sentence


def test_values_are_put_in_and_the_last_newline_stays(template: Callable[..., None]) -> None:
    template("a {{ one }};\n{% for x in many %}\n  b {{ x }};\n{% endfor %}\n")
    rendered = templating.render("nginx/some.j2", {"one": "<&\"'>", "many": [1, 2]})
    assert rendered == "a <&\"'>;\n  b 1;\n  b 2;\n"


def test_a_missing_value_is_told_with_template_and_line(template: Callable[..., None]) -> None:
    template("one\ntwo\n{{ port }}\n")
    assert failure() == "Template nginx/some.j2, line 3: 'port' is undefined."


def test_a_missing_part_of_a_value_is_told_with_template_and_line(
    template: Callable[..., None],
) -> None:
    template("one\n{{ server.port }}\n")
    told = failure(server={})
    assert told.startswith("Template nginx/some.j2, line 2: ")
    assert "'port'" in told


def test_a_missing_value_that_is_only_looked_at_is_told_too(template: Callable[..., None]) -> None:
    template("{% if port %}\nx\n{% endif %}\n")
    assert failure().startswith("Template nginx/some.j2, line 1: 'port'")


def test_a_wrong_template_is_told_with_its_line(template: Callable[..., None]) -> None:
    template("one\n{% if x %}\nthree\n{{ x y }}\n")
    assert failure(x=1).startswith("Template nginx/some.j2, line 4: ")


def test_an_unknown_filter_is_told_with_its_line(template: Callable[..., None]) -> None:
    template("one\n{{ x | shout }}\n")
    assert failure(x=1).startswith("Template nginx/some.j2, line 2: ")


@pytest.mark.usefixtures("template")
def test_a_template_that_is_not_there_is_told() -> None:
    assert failure("nginx/no.j2") == "There is no template nginx/no.j2."


def test_every_template_of_the_kit_is_rendered_somewhere() -> None:
    """A template that nothing renders is dead, and no golden file would show it."""
    there = {
        file.relative_to(bundle.templates()).as_posix() for file in bundle.templates().rglob("*.j2")
    }
    rooms = (Path(bundle.__file__).parent, bundle.stacks())
    source = "".join(file.read_text() for room in rooms for file in room.rglob("*.py"))
    unused = {name for name in there if f'"{name}"' not in source}
    assert unused == set()
