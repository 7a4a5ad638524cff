"""Cases of parity, one file a family."""
