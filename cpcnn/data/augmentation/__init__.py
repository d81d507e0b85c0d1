"""Random changes of images: their numbers, drawn per image, for the device to apply."""
