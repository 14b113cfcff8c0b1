"""What the package carries is what pyproject.toml asks for."""

import importlib.util
import re

from packaging.requirements import Requirement
from shared_data import ROOT


def load(path):
    spec = importlib.util.spec_from_file_location("packaging_lock", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_dependency_is_pinned_within_its_range_with_its_hashes():
    lock = load(ROOT / "packaging/lock.py")
    text = lock.LOCK.read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    for line in lock.wanted():
        wanted = Requirement(line)
        name = wanted.name.lower().replace("_", "-")
        assert name in pinned, f"{name} is not in packaging/requirements.txt: make lock"
        assert pinned[name] in wanted.specifier, f"{name} {pinned[name]} is not {wanted.specifier}: make lock"
    for block in re.split(r"\n(?=[a-z])", text.partition("\n")[2]):
        assert "--hash=sha256:" in block, block
