"""What the bytes of an image are: read on their way, in bounded memory, without any program that would open them."""
