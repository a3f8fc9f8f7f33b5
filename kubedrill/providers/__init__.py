"""Where nodes come from: containers (docker) or virtual machines (vagrant)."""
