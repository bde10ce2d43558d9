"""What ``worker-scaler check`` looks at, one module per subject."""
