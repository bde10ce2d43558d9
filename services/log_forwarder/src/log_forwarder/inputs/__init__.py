"""Where lines come from. Each input hands over bytes with the place they were read from."""
