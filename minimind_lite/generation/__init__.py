"""Text generation: the sampling rules, the decoding loop, and a chat in the terminal."""
