"""Pure command builders: values in, command lines out. Nothing here runs anything."""
