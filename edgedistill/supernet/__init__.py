"""Make a pretrained transformer elastic."""
