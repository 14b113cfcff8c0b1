"""One recipe a shipped model, card or constant: run as ``python -m export.recipes.NAME``."""
