"""How a layer is laid on a chip: tilings, reuse, traffic."""
