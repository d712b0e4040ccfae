"""The same networks in other libraries, written as their experts would.

Each file is imported only in a process of its own, and imports its library. None of them imports from this package but for
its types, so that they can also be run in a process that knows nothing of it; see `standalone`.
"""
