"""The later methods under their authors' own protocols."""
