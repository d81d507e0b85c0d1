"""Which samples train and which validate, and how often they come."""
