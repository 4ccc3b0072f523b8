"""Docker Compose on one host."""
