"""edgebms: an edge BMS reasoning runtime. See README.md for the way through the house."""

__version__ = "0.1.0"
