"""Perplexity at equal array area: the chips and formats with a model that is run."""
