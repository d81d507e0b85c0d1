"""What is wrong with a folder of images: facts, findings, and the page that shows them."""
