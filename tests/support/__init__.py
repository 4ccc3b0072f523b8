"""What the tests against a real host share."""
