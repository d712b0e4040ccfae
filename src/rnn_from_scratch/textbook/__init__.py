"""The mathematics, on plain arrays: forward and backward side by side, in the symbols of the papers."""
