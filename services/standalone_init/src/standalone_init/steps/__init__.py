"""The acts: one file per step, each idempotent, each leaving whole things or nothing."""
