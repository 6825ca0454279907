"""A pretrained transformer made elastic."""
