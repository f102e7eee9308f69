"""Certificates of fused chains: a schedule's cost, walked anew, and what no tiling undercuts."""
