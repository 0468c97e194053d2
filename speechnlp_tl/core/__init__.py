"""How anything is trained. Knows no speech, no text and no transfer method."""
