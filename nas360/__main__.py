"""`python -m nas360`."""

from nas360.cli import main

main()
