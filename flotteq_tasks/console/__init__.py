"""What people see: live steps, tables, JSON, GitHub Actions groups."""
