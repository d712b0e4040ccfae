"""Two engines behind one contract: the textbook in NumPy, and the same mathematics in C++."""
