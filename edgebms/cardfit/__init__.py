"""Cell cards from characterisation logs: the code behind ``edgebms fit``."""
