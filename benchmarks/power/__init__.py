"""How often the gate and its peers err, on the same made-up hosts."""
