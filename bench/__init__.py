"""The whole benchmark as a grid of runs, performed by any executor of `concurrent.futures`."""
