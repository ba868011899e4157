"""What can be done with servers, whichever API asks for it."""
