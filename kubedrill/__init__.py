"""kubedrill: a laboratory for real Kubernetes clusters on one computer."""

# The only place; pyproject.toml reads it from here.
__version__ = "0.1.0"
