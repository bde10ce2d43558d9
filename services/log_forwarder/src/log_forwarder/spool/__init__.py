"""What was pushed to us waits here, on disk, until Firehose has accepted it."""
