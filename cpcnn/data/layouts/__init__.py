"""What a folder, a table or a tar file of images holds: samples with their classes, in splits."""
