"""Does it fit? What a model needs of a GPU's memory, and what engines measured when they started."""
