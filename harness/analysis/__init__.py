"""Results as a data frame, and the tables made of it. Reads the store, never writes into it; knows nothing of torch."""
