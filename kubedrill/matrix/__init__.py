"""The nightly matrix: which drills run on which clusters, and why others do not; cut into jobs of an hour."""
