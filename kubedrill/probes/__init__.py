"""Probes: what the users of a cluster would ask it, asked on a fixed schedule, with every answer on record."""
