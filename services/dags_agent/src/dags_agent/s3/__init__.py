"""S3 twice: the hot path of our own (``native``) and the SDK (``sdk``), both behind :mod:`dags_agent.source`.

The SDK costs 1.3 ms of CPU per small object and 85 ms per page of a listing, an order of magnitude more than
the work itself (docs/adr/0023). So the two calls that a pass repeats, ListObjectsV2 and GetObject, are ours;
everything that is rare or hard (which host a bucket has, where credentials come from, when they are renewed)
is still asked of the SDK.
"""
