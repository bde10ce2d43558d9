"""The agent beside its peers: speed (``python -m benchmarks.dags_agent``), and what each S3 client costs."""
