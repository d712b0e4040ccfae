"""Training: one loop, and what it records."""
