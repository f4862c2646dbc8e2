"""RankDistil (Reddi et al., AISTATS 2021)."""
