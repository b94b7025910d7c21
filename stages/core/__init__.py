"""The nouns: values, tables and computations that know nothing of stages."""
