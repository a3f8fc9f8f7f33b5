"""Figures of this machine, taken several times, kept as JSON, and compared with those of another revision."""
