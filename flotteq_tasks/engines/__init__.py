"""How a release runs, behind one small interface."""
