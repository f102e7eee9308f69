"""What a datatype study asks: listings, comparisons, error metrics."""
