"""`python -m nas360.cli`."""

from nas360.cli import main

main()
