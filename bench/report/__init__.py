"""One page about a folder of runs: what was run, what came of it, what it cost, and how to do it again."""
