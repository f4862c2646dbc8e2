"""All methods under one protocol."""
