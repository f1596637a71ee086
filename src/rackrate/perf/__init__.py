"""How fast is it? Tokens, images and audio a second, time to first token, power: pure, and on arrays."""
