"""Compare a palette's quality with other ways to get a small model."""
