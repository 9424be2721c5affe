"""Results as a data frame; tables."""
