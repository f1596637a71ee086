"""What exists: GPUs, models, providers and workloads as facts with sources (pure, no market)."""
