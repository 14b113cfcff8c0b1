"""The papers say what the house does: fields are all named, links lead somewhere, shown output is real."""

import json
import re
from importlib import resources
from pathlib import Path

import jsonschema
import msgspec
import msgspec.inspect
import pytest

from edgebms.config import Config
from edgebms.errors import EdgebmsError
from edgebms.vocabulary import SiteKind

ROOT = Path(__file__).resolve().parents[2]
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def parts():
    """Name -> struct of each table of the configuration, whether it comes once or often; ``outlet.mqtt`` for a table in a table."""
    found = {}
    for field in msgspec.inspect.type_info(Config).fields:
        kind = table(field.type)
        inner = {f"{field.name}.{part.name}": table(part.type).cls for part in kind.fields} if field.name == "outlet" else {}
        found |= inner or {field.name: kind.cls}
    return found


def table(kind):
    """The struct in ``T``, ``tuple[T, ...]`` or ``T | None``."""
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return kind.item_type
    if isinstance(kind, msgspec.inspect.UnionType):
        (kind,) = [part for part in kind.types if isinstance(part, msgspec.inspect.StructType)]
    return kind


def test_the_integrators_page_names_every_field_of_the_configuration():
    page = (ROOT / "docs" / "integrator.md").read_text()
    assert {"pack", "site", "students", "output"} <= set(parts())
    every = [f"{part}.{field}" for part, struct in parts().items() for field in struct.__struct_fields__]
    assert [name for name in every if f"`{name}`" not in page] == []


def test_the_integrators_page_states_the_defaults_as_they_are():
    page = (ROOT / "docs" / "integrator.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]+) \|", page, flags=re.M))
    for part, struct in parts().items():
        for field in msgspec.structs.fields(struct):
            stated = rows.get(f"{part}.{field.name}", "")
            if isinstance(field.default, bool):
                assert stated == ("on" if field.default else "off"), field.name
            elif isinstance(field.default, (int, float)) and stated:
                assert float(stated) == field.default, field.name
            elif isinstance(field.default, str) and field.default and stated:
                assert stated.strip('`"') == field.default, field.name
            elif field.required:
                assert stated == "needed", field.name
    assert all(f"`{kind}`" in page or f'"{kind}"' in page for kind in SiteKind)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_files_that_a_paper_names_are_there(paper):
    text = paper.read_text()
    named = set(
        re.findall(
            r"(?<![\w/])((?:docs|examples|edgebms|hil|export|packaging|tests|models)/[\w./-]*\w\.(?:md|py|toml|json|dbc|sh))\b", text
        )
    )
    named |= {str((paper.parent / target).resolve().relative_to(ROOT)) for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text)}
    assert sorted(name for name in named if "NAME" not in name and not (ROOT / name).exists()) == []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_make_targets_and_verbs_that_a_paper_names_are_there(paper):
    text = paper.read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`(?:[A-Z]+=\w+ )*make ([a-z][a-z-]*)", text)) | set(
        re.findall(r"^    make ([a-z][a-z-]*)", text, flags=re.M)
    )
    assert sorted(target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.M)) == []
    from edgebms.cli.main import VERBS

    verbs = set(re.findall(r"(?:`|^    )edgebms ([a-z]+)", text, flags=re.M)) - {"error", "warning"}
    assert sorted(verbs - set(VERBS)) == []


def test_the_decision_in_the_readme_obeys_the_schema():
    schema = json.loads((resources.files("edgebms") / "decision" / "decision.schema.json").read_text())
    (shown,) = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    jsonschema.Draft202012Validator(schema).validate(json.loads(shown))


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_every_example_configuration_passes_the_check(example, capsys):
    from edgebms.cli.main import main

    try:
        code = main(["check", "-c", str(example)])
    except EdgebmsError as error:
        pytest.fail(str(error))
    printed = capsys.readouterr()
    assert code == 0, printed.out + printed.err


def test_config_errors_name_the_integrators_page():
    from edgebms.config import parse
    from edgebms.errors import ConfigError

    with pytest.raises(ConfigError, match=r"docs/integrator\.md"):
        parse('[[pack]]\nname = "a"\nprofile = "p"\ncard = "c"\ncells = 0\n')
