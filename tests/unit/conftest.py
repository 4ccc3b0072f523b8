"""Makes ``unit_support`` importable for all unit tests."""
