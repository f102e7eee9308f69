"""Forty schemes ranked by their error on real transformer weights."""
