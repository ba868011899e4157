"""What the identity, image and compute services share: their web layer, who calls them, and their database."""
