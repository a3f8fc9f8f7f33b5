"""`python -m kubedrill`: the program."""

from kubedrill.program import main

main()
