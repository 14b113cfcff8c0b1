import pytest
from c_library import library


@pytest.fixture(scope="session")
def c(tmp_path_factory):
    """The C library: c.lib, c.ffi."""
    built = library(tmp_path_factory.mktemp("c"))
    yield built
    built.lib.shim_coverage()
