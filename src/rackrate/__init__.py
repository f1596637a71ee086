"""Rackrate: from a workload to running GPUs at the right price."""
