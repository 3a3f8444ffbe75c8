"""Chapter 15b: practice with PPO."""
