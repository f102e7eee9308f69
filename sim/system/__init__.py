"""Systems of chips: each chip's share on the plain chip, what they send each other, stages."""
