"""Search algorithms: each file one."""
