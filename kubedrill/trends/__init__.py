"""Figures of many runs over time: a line each in one file, a page of them, and changes beyond the noise."""
