"""Templates become files: Jinja2 with StrictUndefined, and content hashes."""
