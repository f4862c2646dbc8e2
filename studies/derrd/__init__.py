"""DE-RRD (Kang et al., CIKM 2020)."""
