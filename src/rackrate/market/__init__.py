"""What it costs: offers as append-only observations, and the statistics made of them."""
