"""A Livy-compatible server for tests; see ../README.md."""
