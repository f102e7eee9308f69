"""Systolic arrays: closed forms, clock by clock, trace."""
