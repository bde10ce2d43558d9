"""The snapshot before an upgrade: named by content, remembered before it is asked for, waited for."""
