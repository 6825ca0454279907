"""Which subnets make the family."""
