"""A configuration is parsed strictly or refused with ConfigError; nothing else ever comes out."""

import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebms import config
from edgebms.errors import ConfigError

GOOD = """
[site]
kind = "grid_tied"
[[pack]]
name = "rack-1"
profile = "edgebms"
card = "lg_hg2"
cells = 16
probes = 4
[[pack]]
name = "rack-2"
profile = "edgebms"
card = "lg_hg2"
cells = 16
probes = 4
id_offset = 256
[output]
cells_every_s = 10.0
"""


def test_several_packs_are_read_and_defaults_are_cautious():
    parsed = config.parse(GOOD)
    assert [pack.name for pack in parsed.pack] == ["rack-1", "rack-2"]
    assert parsed.site.open_contactors is None
    assert config.parse('[[pack]]\nname="a"\nprofile="x"\ncard="y"\ncells=1').site.kind == "not_stated"


def test_probes_are_spread_evenly_unless_stated():
    pack = config.parse(GOOD).pack[0]
    assert config.probe_of_cell(pack) == (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
    bare = config.PackConfig(name="a", profile="x", card="y", cells=3)
    assert config.probe_of_cell(bare) == (-1, -1, -1)
    stated = config.PackConfig(name="a", profile="x", card="y", cells=3, probes=2, probe_of_cell=(2, 1, 1))
    assert config.probe_of_cell(stated) == (1, 0, 0)


@given(st.binary(max_size=300))
def test_random_bytes_as_a_file_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("config") / "gateway.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        config.load(path)


values = st.one_of(st.integers(-5, 500), st.floats(), st.text(max_size=5), st.booleans(), st.lists(st.integers(), max_size=3), st.none())


@given(
    st.sampled_from(
        ["name", "profile", "card", "cells", "probes", "parallel", "startup_s", "period_s", "thresholds", "probe_of_cell", "xyz"]
    ),
    values,
)
def test_a_field_of_any_value_is_taken_or_refused_by_name(field, value):
    data = tomllib.loads(GOOD)
    data["pack"][0][field] = value
    try:
        config.convert(data, "gateway.toml")
    except ConfigError as error:
        assert "gateway.toml" in str(error)


@given(st.integers(0, len(GOOD) - 1), st.text(min_size=1, max_size=3))
def test_a_mangled_file_is_taken_or_refused(position, junk):
    with contextlib.suppress(ConfigError):
        config.parse(GOOD[:position] + junk + GOOD[position + 1 :])


@pytest.mark.parametrize(
    "line", ["startup_s = inf", "startup_s = nan", "period_s = -1.0", "thresholds = { cell_voltage_high = nan }", "period_s = true"]
)
def test_no_number_that_is_none(line):
    with pytest.raises(ConfigError):
        config.parse(GOOD.replace("cells = 16\n", f"cells = 16\n{line}\n", 1))
