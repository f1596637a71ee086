"""Which one, and rent or own: what follows from facts, prices and memory, without reading any of them."""
