"""Tables for those who serve: what steps of a server take on a chip, over a grid of steps."""
