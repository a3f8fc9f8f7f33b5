"""kubedrill: a laboratory for real Kubernetes clusters on one computer."""
