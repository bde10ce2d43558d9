"""What may be done to lines between reading and packing: redact, join, filter. All of it pure and bounded."""
