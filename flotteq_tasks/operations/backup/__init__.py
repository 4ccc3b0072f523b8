"""Sets of backups: take, list, verify, restore."""
