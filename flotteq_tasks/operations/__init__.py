"""What happens, in order. Operations emit events; they print nothing and know neither Invoke nor SSH."""
