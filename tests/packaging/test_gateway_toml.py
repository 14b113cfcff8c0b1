"""The packaged gateway.toml is a whole reference: it works as installed, names every setting and tells the true defaults."""

import re
import tomllib

import msgspec
import pytest
from shared_data import ROOT

from edgebms import config as configuration

TEXT = (ROOT / "packaging/gateway.toml").read_text()
SETTING = re.compile(r"^#(?=\[|[a-z0-9_]+ = )", re.MULTILINE)


def tables(kind, path=""):
    """(path, struct) of each table of the configuration, the file itself first."""
    yield path, kind
    for field in msgspec.structs.fields(kind):
        for struct in structs(field.type):
            yield from tables(struct, f"{path}.{field.name}" if path else field.name)


def structs(kind):
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for inner in getattr(kind, "__args__", ()):
        yield from structs(inner)


def at(data, path):
    for part in filter(None, path.split(".")):
        data = data[part][0] if isinstance(data[part], list) else data[part]
    return data


EVERYTHING = tomllib.loads(SETTING.sub("", TEXT))
FIELDS = [(path, field) for path, struct in tables(configuration.Config) for field in msgspec.structs.fields(struct)]


def test_as_installed_it_is_accepted():
    config = configuration.parse(TEXT)
    assert config.record.folder == "/var/lib/edgebms"
    assert not any(bus.transmit for bus in config.bus), "listens only until told otherwise"


def test_with_every_setting_taken_up_it_is_accepted():
    assert configuration.convert(EVERYTHING, "gateway.toml").outlet.mqtt is not None


@pytest.mark.parametrize(("path", "field"), FIELDS, ids=[f"{path}.{field.name}".lstrip(".") for path, field in FIELDS])
def test_it_names_each_setting_with_its_default(path, field):
    table = at(EVERYTHING, path)
    assert field.name in table, f"packaging/gateway.toml does not mention {path}.{field.name}"
    default = field.default
    if default in (msgspec.NODEFAULT, None) or list(structs(field.type)):
        return
    shown_as_default = re.search(rf"^#{field.name} = ", TEXT, re.MULTILINE)
    if shown_as_default and not isinstance(default, dict | tuple):
        assert table[field.name] == default, f"packaging/gateway.toml tells another default for {path}.{field.name}"
