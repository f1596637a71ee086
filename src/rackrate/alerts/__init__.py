"""What changed that somebody asked to hear of: rules over the market, told once until they clear."""
