"""The training loop, and its CUDA graphs."""
