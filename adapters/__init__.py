"""Exchange adapters: venue frames in, normalised events out."""
