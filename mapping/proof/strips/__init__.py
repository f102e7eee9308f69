"""Certificates of convolutions in strips: their schedule walked anew, and what none undercuts."""
