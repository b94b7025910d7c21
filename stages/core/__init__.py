"""Values, tables and computations that know nothing of stages."""
