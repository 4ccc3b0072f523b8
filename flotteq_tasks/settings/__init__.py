"""The one loader: flotteq.toml, .env files and FLOTTEQ__ variables become frozen typed values."""
