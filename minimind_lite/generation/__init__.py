"""Making text: the cache, the sampling rules, the decoding loop, and a chat on the terminal."""
