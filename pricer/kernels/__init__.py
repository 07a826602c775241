"""Pure numbers: arrays in, arrays out. No objects, clock or I/O."""
