"""Connected components, holes and islands: of NumPy masks in `cpu`, of tensors in `device`."""
