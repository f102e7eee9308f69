"""Arrays of bit-serial PEs over tiles: closed forms, clock by clock, trace."""
