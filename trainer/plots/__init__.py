"""Pictures of figures: the only folder that imports matplotlib. One file per kind of picture."""
